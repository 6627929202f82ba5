import type { Attribute, DataTypeName, Graph, Node } from '../onnx/graph.js';
import { attribute, DATA_TYPE, initializerFromTensor, node } from '../onnx/graph.js';
import type { Shapes } from '../onnx/shape-inference.js';
import { halfFromNumber } from '../tensors/float16.js';
import { elementCount, float32, int64, type Tensor, tensor } from '../tensors/tensor.js';

/**
 * A value of the graph with its concrete dims. `uniform` is set when every element is known to be this number; a uniform
 * value made here has the name '' until a node reads it.
 */
export interface Value {
  readonly name: string;
  readonly dims: readonly number[];
  readonly type: DataTypeName;
  readonly uniform?: number;
}

/** Dims after multidirectional broadcasting (ONNX, same as numpy). */
export function broadcastDims(a: readonly number[], b: readonly number[]): number[] {
  const rank = Math.max(a.length, b.length);
  return Array.from({ length: rank }, (_, axis) => {
    const left = a[axis - rank + a.length] ?? 1;
    const right = b[axis - rank + b.length] ?? 1;
    if (left !== right && left !== 1 && right !== 1) {
      throw new RangeError(`dims [${a.join(', ')}] and [${b.join(', ')}] do not broadcast`);
    }
    return left === 1 ? right : left;
  });
}

export function sameDims(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((dim, axis) => dim === b[axis]);
}

/**
 * Writes ONNX nodes as expressions over values with concrete dims. Equal expressions are written once; multiplications by
 * one, reshapes to the same dims and other no-ops are not written. Nodes are named `grad/<scope>/<operator>` and collect in
 * `nodes` until `appendTo graph`; constants are added to the graph at once, named after their content.
 */
export class Expressions {
  readonly nodes: Node[] = [];
  /** What the nodes being written belong to: the name of the forward node. */
  scope = '';
  private readonly known = new Map<string, readonly Value[]>();
  private readonly constants = new Map<string, Value>();
  private readonly taken = new Set<string>();

  constructor(
    readonly graph: Graph,
    private readonly shapes: Shapes,
  ) {}

  /** A forward value. One-element constants are uniform. */
  value(name: string): Value {
    const dims = this.shapes.dimsOf(name);
    const type = this.shapes.typeOf(name);
    const constant = this.shapes.constantOf(name);
    if (constant === undefined || (type !== 'float32' && type !== 'float64')) return { name, dims, type };
    const first = Number(constant.data[0]);
    const uniform = constant.data.length > 0 && (constant.data as Float32Array).every((element) => element === first);
    return uniform ? { name, dims, type, uniform: first } : { name, dims, type };
  }

  /** The number as a scalar. */
  uniform(value: number, type: DataTypeName = 'float32'): Value {
    return { name: '', dims: [], type, uniform: value };
  }

  /** A constant int64 vector. */
  integers(values: readonly number[]): Value {
    return this.constant(`int64:[${values.join(',')}]`, int64([values.length], values));
  }

  /** A constant; `key` identifies its content. */
  constant(key: string, value: Tensor): Value {
    const known = this.constants.get(key);
    if (known !== undefined) return known;
    const name = this.fresh(`grad/constant/${key}`);
    this.graph.addInitializer(initializerFromTensor(name, value));
    const made = { name, dims: value.dims, type: value.type };
    this.constants.set(key, made);
    return made;
  }

  /** A constant of this float type; `key` identifies dims and numbers. */
  numbers(key: string, dims: readonly number[], values: ArrayLike<number>, type: DataTypeName): Value {
    const full = `${type}:${key}`;
    if (type === 'float64') return this.constant(full, tensor('float64', dims, Float64Array.from(values)));
    if (type === 'float16')
      return this.constant(full, tensor('float16', dims, Uint16Array.from(values, halfFromNumber)));
    return this.constant(full, float32(dims, values));
  }

  /** Writes one node with one output. */
  emit(
    opType: string,
    inputs: readonly (Value | undefined)[],
    dims: readonly number[],
    options: { attributes?: Record<string, Attribute>; type?: DataTypeName } = {},
  ): Value {
    const [value] = this.emitAll(opType, inputs, [dims], options);
    if (value === undefined) throw new Error(`${opType} has no output`);
    return value;
  }

  /** Writes one node with several outputs. */
  emitAll(
    opType: string,
    inputs: readonly (Value | undefined)[],
    outputDims: readonly (readonly number[])[],
    options: { attributes?: Record<string, Attribute>; type?: DataTypeName } = {},
  ): readonly Value[] {
    const names = inputs.map((input) => (input === undefined ? '' : this.reference(input)));
    const key = JSON.stringify([opType, names, options.attributes ?? {}, outputDims]);
    const known = this.known.get(key);
    if (known !== undefined) return known;
    const name = this.fresh(`grad/${this.scope}/${opType}`);
    const type = options.type ?? inputs.find((input) => input !== undefined)?.type ?? 'float32';
    const values = outputDims.map((dims, index) => ({
      name: index === 0 ? name : this.fresh(`${name}:${index}`),
      dims: [...dims],
      type,
    }));
    const outputs = values.map((value) => value.name);
    this.nodes.push(node(opType, names, outputs, { name, attributes: options.attributes ?? {} }));
    this.known.set(key, values);
    return values;
  }

  add(a: Value, b: Value): Value {
    return this.elementwise('Add', a, b);
  }

  sub(a: Value, b: Value): Value {
    return this.elementwise('Sub', a, b);
  }

  mul(a: Value, b: Value): Value {
    const dims = broadcastDims(a.dims, b.dims);
    if (a.uniform === 1 && sameDims(dims, b.dims)) return b;
    if (b.uniform === 1 && sameDims(dims, a.dims)) return a;
    if (a.uniform !== undefined && b.uniform !== undefined && dims.length === 0) {
      return this.uniform(a.uniform * b.uniform, a.type);
    }
    return this.elementwise('Mul', a, b);
  }

  div(a: Value, b: Value): Value {
    if (b.uniform === 1 && sameDims(broadcastDims(a.dims, b.dims), a.dims)) return a;
    return this.elementwise('Div', a, b);
  }

  /** An operator of one input that keeps its dims. */
  unary(opType: string, a: Value): Value {
    return this.emit(opType, [a], a.dims);
  }

  /** `yes` where `condition` holds, else `no`. */
  where(condition: Value, yes: Value, no: Value): Value {
    const dims = broadcastDims(condition.dims, broadcastDims(yes.dims, no.dims));
    return this.emit('Where', [condition, yes, no], dims, { type: yes.type });
  }

  /** A comparison. */
  compare(opType: 'Equal' | 'Greater' | 'GreaterOrEqual' | 'Less' | 'LessOrEqual', a: Value, b: Value): Value {
    const dims = broadcastDims(a.dims, b.dims);
    const strict = this.graph.opset < 12 ? OPPOSITE[opType] : undefined;
    if (strict === undefined) return this.emit(opType, [a, b], dims, { type: 'bool' });
    return this.emit('Not', [this.emit(strict, [a, b], dims, { type: 'bool' })], dims);
  }

  cast(a: Value, type: DataTypeName): Value {
    if (a.type === type) return a;
    return this.emit('Cast', [a], a.dims, { type, attributes: { to: attribute.int(DATA_TYPE[type]) } });
  }

  reshape(a: Value, dims: readonly number[]): Value {
    if (sameDims(a.dims, dims)) return a;
    return this.emit('Reshape', [a, this.integers(dims)], dims);
  }

  transpose(a: Value, permutation: readonly number[]): Value {
    if (permutation.every((from, to) => from === to)) return a;
    const dims = permutation.map((axis) => a.dims[axis] ?? 1);
    return this.emit('Transpose', [a], dims, { attributes: { perm: attribute.ints(permutation) } });
  }

  /** Exchanges the last two axes. */
  transposeLast(a: Value): Value {
    const rank = a.dims.length;
    const permutation = Array.from({ length: rank }, (_, axis) => axis);
    permutation.splice(rank - 2, 2, rank - 1, rank - 2);
    return this.transpose(a, permutation);
  }

  expand(a: Value, dims: readonly number[]): Value {
    if (sameDims(a.dims, dims)) return a;
    return this.emit('Expand', [a, this.integers(dims)], dims);
  }

  /** Sum over axes, which stay with size 1. */
  reduceSum(a: Value, axes: readonly number[]): Value {
    return this.reduce('ReduceSum', a, axes, 13);
  }

  /** Mean over axes, which stay with size 1. */
  reduceMean(a: Value, axes: readonly number[]): Value {
    return this.reduce('ReduceMean', a, axes, 18);
  }

  /** Largest element over axes, which stay with size 1. */
  reduceMax(a: Value, axes: readonly number[]): Value {
    return this.reduce('ReduceMax', a, axes, 18);
  }

  /** Product over axes, which stay with size 1. */
  reduceProd(a: Value, axes: readonly number[]): Value {
    return this.reduce('ReduceProd', a, axes, 18);
  }

  matMul(a: Value, b: Value): Value {
    const batch = broadcastDims(a.dims.slice(0, -2), b.dims.slice(0, -2));
    return this.emit('MatMul', [a, b], [...batch, a.dims.at(-2) ?? 1, b.dims.at(-1) ?? 1]);
  }

  /** alpha · a' · b' of two matrices, each transposed when asked. */
  gemm(a: Value, b: Value, options: { transA?: boolean; transB?: boolean; alpha?: number } = {}): Value {
    const rows = a.dims[options.transA === true ? 1 : 0] ?? 1;
    const columns = b.dims[options.transB === true ? 0 : 1] ?? 1;
    const attributes: Record<string, Attribute> = {};
    if (options.transA === true) attributes.transA = attribute.int(1);
    if (options.transB === true) attributes.transB = attribute.int(1);
    if (options.alpha !== undefined && options.alpha !== 1) attributes.alpha = attribute.float(options.alpha);
    return this.emit('Gemm', [a, b], [rows, columns], { attributes });
  }

  concat(parts: readonly Value[], axis: number): Value {
    const [first] = parts;
    if (first === undefined) throw new RangeError('concat needs at least one value');
    if (parts.length === 1) return first;
    const dims = [...first.dims];
    dims[axis] = parts.reduce((sum, part) => sum + (part.dims[axis] ?? 1), 0);
    return this.emit('Concat', parts, dims, { attributes: { axis: attribute.int(axis) } });
  }

  /** Cut along an axis into parts of these sizes. */
  split(a: Value, sizes: readonly number[], axis: number): readonly Value[] {
    const dims = sizes.map((size) => a.dims.map((dim, at) => (at === axis ? size : dim)));
    const attributes = { axis: attribute.int(axis) };
    if (this.graph.opset >= 13) return this.emitAll('Split', [a, this.integers(sizes)], dims, { attributes });
    return this.emitAll('Split', [a], dims, { attributes: { ...attributes, split: attribute.ints(sizes) } });
  }

  /** Elements start, start + step… before end along some axes; bounds are normalized, steps positive. */
  slice(a: Value, ranges: readonly { axis: number; start: number; end: number; step?: number }[]): Value {
    const dims = [...a.dims];
    const cut = ranges.filter(
      ({ axis, start, end, step }) => start !== 0 || end < (a.dims[axis] ?? 1) || (step ?? 1) !== 1,
    );
    if (cut.length === 0) return a;
    for (const { axis, start, end, step } of cut) dims[axis] = Math.ceil((end - start) / (step ?? 1));
    const inputs = [
      cut.map((c) => c.start),
      cut.map((c) => c.end),
      cut.map((c) => c.axis),
      cut.map((c) => c.step ?? 1),
    ];
    return this.emit('Slice', [a, ...inputs.map((values) => this.integers(values))], dims);
  }

  /** Reverses the order along axes. */
  reverse(a: Value, axes: readonly number[]): Value {
    if (axes.every((axis) => a.dims[axis] === 1)) return a;
    const starts = this.integers(axes.map(() => -1));
    const ends = this.integers(axes.map((axis) => -(a.dims[axis] ?? 1) - 1));
    return this.emit('Slice', [a, starts, ends, this.integers(axes), starts], a.dims);
  }

  /** Zeros before and after each axis. */
  pad(a: Value, before: readonly number[], after: readonly number[]): Value {
    if ([...before, ...after].every((count) => count === 0)) return a;
    const dims = a.dims.map((dim, axis) => dim + (before[axis] ?? 0) + (after[axis] ?? 0));
    return this.emit('Pad', [a, this.integers([...before, ...after])], dims);
  }

  /** The name a node can read; writes the constant of a uniform value. */
  reference(value: Value): string {
    if (value.name !== '') return value.name;
    const number = value.uniform ?? 0;
    return this.numbers(`${number}`, [], [number], value.type).name;
  }

  /** A value name nothing has yet. */
  fresh(wanted: string): string {
    let name = this.graph.uniqueName(wanted);
    for (let suffix = 1; this.taken.has(name); suffix += 1) name = this.graph.uniqueName(`${wanted}_${suffix}`);
    this.taken.add(name);
    return name;
  }

  /** A reduction whose axes are an input from opset `since` on. */
  private reduce(opType: string, a: Value, axes: readonly number[], since: number): Value {
    if (axes.length === 0) return a;
    const dims = keptDims(a.dims, axes);
    const keepdims = attribute.int(1);
    if (this.graph.opset >= since)
      return this.emit(opType, [a, this.integers(axes)], dims, { attributes: { keepdims } });
    return this.emit(opType, [a], dims, { attributes: { keepdims, axes: attribute.ints(axes) } });
  }

  private elementwise(opType: string, a: Value, b: Value): Value {
    return this.emit(opType, [a, b], broadcastDims(a.dims, b.dims));
  }
}

/** Comparisons that opset 12 added, as the negation of older ones. */
const OPPOSITE: Readonly<Record<string, string>> = { GreaterOrEqual: 'Less', LessOrEqual: 'Greater' };

function keptDims(dims: readonly number[], axes: readonly number[]): number[] {
  return dims.map((dim, axis) => (axes.includes(axis) ? 1 : dim));
}

/** True when `part` has fewer elements than a value of `dims`. */
export function isSmaller(part: Value, dims: readonly number[]): boolean {
  return elementCount(part.dims) < elementCount(dims);
}
