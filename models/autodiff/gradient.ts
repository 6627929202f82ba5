import { elementCount } from '../tensors/tensor.js';
import { type Expressions, sameDims, type Value } from './expressions.js';

/**
 * The gradient of a value: `by` · `value` · ∏ `times` / ∏ `over`, broadcast to the value's dims.
 *
 * Factors wait instead of being multiplied at once, because most meet their inverse or a sum further up: through a fake
 * quantizer s · round(clip(x / s)) the s cancels without a single multiplication, and the factor of a mean is applied to a
 * small tensor. Waiting factors have fewer elements than the value.
 */
export interface Gradient {
  readonly value: Value;
  readonly by: number;
  readonly times: readonly Value[];
  readonly over: readonly Value[];
}

/** A gradient without waiting factors. */
export function plain(value: Value): Gradient {
  return { value, by: 1, times: [], over: [] };
}

export function scaleBy(gradient: Gradient, factor: number): Gradient {
  return { ...gradient, by: gradient.by * factor };
}

/** gradient · factor, waiting; cancels against a waiting division by the same value. */
export function times(gradient: Gradient, factor: Value): Gradient {
  if (factor.uniform !== undefined) return scaleBy(gradient, factor.uniform);
  const over = without(gradient.over, factor);
  if (over !== undefined) return { ...gradient, over };
  return { ...gradient, times: [...gradient.times, factor] };
}

/** gradient / factor, waiting; cancels against a waiting multiplication by the same value. */
export function dividedBy(gradient: Gradient, factor: Value): Gradient {
  if (factor.uniform !== undefined) return scaleBy(gradient, 1 / factor.uniform);
  const remaining = without(gradient.times, factor);
  if (remaining !== undefined) return { ...gradient, times: remaining };
  return { ...gradient, over: [...gradient.over, factor] };
}

/** The same factors on another value. */
export function withValue(gradient: Gradient, value: Value): Gradient {
  return { ...gradient, value };
}

/** Multiplies the waiting factors in: one full-size node at most. The result may still have to be broadcast. */
export function settle(e: Expressions, gradient: Gradient): Value {
  const { value, by, over } = gradient;
  if (value.uniform !== undefined && value.name === '') {
    const rest = { ...gradient, value: e.uniform(1, value.type), by: 1 };
    return e.mul(e.uniform(value.uniform * by, value.type), product(e, rest));
  }
  const [only] = over;
  if (only !== undefined && over.length === 1 && by === 1 && gradient.times.length === 0) return e.div(value, only);
  return e.mul(value, product(e, gradient));
}

/** by · ∏ times / ∏ over. */
function product(e: Expressions, { value, by, times: numerators, over: denominators }: Gradient): Value {
  const numerator = numerators.reduce((left, right) => e.mul(left, right), e.uniform(by, value.type));
  return denominators.reduce((left, right) => e.div(left, right), numerator);
}

/** The sum of contributions to a value of `dims`. */
export function sumGradients(e: Expressions, parts: readonly Gradient[]): Gradient {
  const [first, ...rest] = parts;
  if (first === undefined) throw new RangeError('sumGradients needs at least one gradient');
  if (rest.length === 0) return first;
  if (first.by !== 0 && rest.every((part) => sameFactors(part, first))) {
    const values = rest.map((part) => settle(e, { value: part.value, by: part.by / first.by, times: [], over: [] }));
    return withValue(first, sumValues(e, [first.value, ...values]));
  }
  return plain(
    sumValues(
      e,
      parts.map((part) => settle(e, part)),
    ),
  );
}

/** Pairwise: onnxruntime's WebGPU provider has no Sum. */
function sumValues(e: Expressions, values: readonly Value[]): Value {
  return values.reduce((sum, value) => e.add(sum, value));
}

function sameFactors(a: Gradient, b: Gradient): boolean {
  const names = (values: readonly Value[]) =>
    values
      .map((value) => value.name)
      .sort()
      .join('\n');
  return names(a.times) === names(b.times) && names(a.over) === names(b.over);
}

/**
 * Sums a gradient of a value of `from` dims over the axes along which `to` was broadcast to `from`. Factors that do not
 * vary along those axes stay waiting; an axis the gradient itself has not been broadcast to becomes a factor.
 */
export function unbroadcast(
  e: Expressions,
  gradient: Gradient,
  to: readonly number[],
  from: readonly number[],
): Gradient {
  const lead = from.length - to.length;
  const axes = from.map((_, axis) => axis).filter((axis) => (from[axis] ?? 1) > 1 && (to[axis - lead] ?? 1) === 1);
  const settled = settleVarying(e, gradient, axes, from.length);
  const dims = aligned(settled.value.dims, from.length);
  const present = axes.filter((axis) => dims[axis] !== 1);
  const absent = axes.filter((axis) => dims[axis] === 1).reduce((count, axis) => count * (from[axis] ?? 1), 1);
  let value = settled.value;
  if (present.length > 0) value = e.reduceSum(e.reshape(value, dims), present);
  return scaleBy(withValue(settled, dropLead(e, value, to.length)), absent);
}

/** unbroadcast(gradient · other): a product that is summed completely is one dot product. */
export function unbroadcastProduct(
  e: Expressions,
  gradient: Gradient,
  other: Value,
  to: readonly number[],
  from: readonly number[],
): Gradient {
  const full = sameDims(gradient.value.dims, from) && sameDims(other.dims, from);
  const constant = [...gradient.times, ...gradient.over].every((factor) => elementCount(factor.dims) === 1);
  if (!full || !constant || elementCount(to) !== 1 || elementCount(from) === 1) {
    return unbroadcast(e, withValue(gradient, e.mul(gradient.value, other)), to, from);
  }
  const row = [1, elementCount(from)];
  const dot = e.gemm(e.reshape(gradient.value, row), e.reshape(other, row), { transB: true });
  return withValue(gradient, e.reshape(dot, to));
}

/** Multiplies in the factors that vary along `axes`. */
function settleVarying(e: Expressions, gradient: Gradient, axes: readonly number[], rank: number): Gradient {
  const varies = (factor: Value) => axes.some((axis) => aligned(factor.dims, rank)[axis] !== 1);
  const inside = { times: gradient.times.filter(varies), over: gradient.over.filter(varies) };
  if (inside.times.length + inside.over.length === 0) return gradient;
  return {
    value: settle(e, { value: gradient.value, by: 1, ...inside }),
    by: gradient.by,
    times: gradient.times.filter((factor) => !varies(factor)),
    over: gradient.over.filter((factor) => !varies(factor)),
  };
}

function aligned(dims: readonly number[], rank: number): number[] {
  const lead = Math.max(0, rank - dims.length);
  return [...new Array<number>(lead).fill(1), ...dims.slice(Math.max(0, dims.length - rank))];
}

/** Drops leading axes of size 1 until at most `rank` remain. */
function dropLead(e: Expressions, value: Value, rank: number): Value {
  if (value.dims.length <= rank) return value;
  return value.name === '' ? value : e.reshape(value, value.dims.slice(value.dims.length - rank));
}

function without(values: readonly Value[], gone: Value): Value[] | undefined {
  const at = values.findIndex((value) => value.name === gone.name);
  return at < 0 ? undefined : values.filter((_, index) => index !== at);
}
