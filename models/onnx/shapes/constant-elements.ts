import { type ElementType, elementCount, type Tensor, type TensorData, tensor, zeros } from '../../tensors/tensor.js';
import { broadcastIndices } from './broadcast.js';
import { LARGEST_CONSTANT } from './shape-rule.js';

/**
 * Arithmetic on small constants, exact in the tensor's own type: integers wrap as in C++, float32 results of + − × ÷ √ are the
 * correctly rounded ones (float64 has more than 2·24 + 2 bits, so rounding twice changes nothing). Operators whose float
 * results depend on the implementation (Exp, Pow…) are deliberately absent.
 */

type Operand = number | bigint;

/** One function for numbers, one for 64-bit integers. */
export interface BinaryOperator {
  readonly number: (a: number, b: number) => number | boolean;
  readonly bigint: (a: bigint, b: bigint) => bigint | boolean;
}

export interface UnaryOperator {
  readonly number: (a: number) => number;
  readonly bigint: (a: bigint) => bigint;
}

/** Whether arithmetic on tensors of this type is exact here; float16 is stored as bits, so it is not. */
function hasArithmetic(type: ElementType): boolean {
  return type !== 'float16';
}

function isWide(type: ElementType): boolean {
  return type === 'int64' || type === 'uint64';
}

/** The elements of `source` at `indices`, as a tensor of dims `dims`. */
export function selectElements(source: Tensor, dims: readonly number[], indices: ArrayLike<number>): Tensor {
  const result = zeros(source.type, dims);
  const from = source.data as ArrayLike<Operand>;
  const to = result.data as { [index: number]: Operand };
  for (let position = 0; position < indices.length; position += 1)
    to[position] = from[indices[position] as number] as Operand;
  return result;
}

/** The same elements under other dims. */
export function withDims(source: Tensor | undefined, dims: readonly number[]): Tensor | undefined {
  return source === undefined ? undefined : tensor(source.type, dims, source.data);
}

/** Elementwise result with broadcasting; undefined when an operand is unknown or the result is too large. */
export function binaryConstant(
  operator: BinaryOperator | undefined,
  a: Tensor | undefined,
  b: Tensor | undefined,
  dims: readonly number[],
  resultType?: ElementType,
): Tensor | undefined {
  if (operator === undefined || a === undefined || b === undefined || a.type !== b.type) return undefined;
  if (!hasArithmetic(a.type) || elementCount(dims) > LARGEST_CONSTANT) return undefined;
  const result = zeros(resultType ?? a.type, dims);
  const fromA = broadcastIndices(a.dims, dims);
  const fromB = broadcastIndices(b.dims, dims);
  const apply = (isWide(a.type) ? operator.bigint : operator.number) as (x: Operand, y: Operand) => Operand | boolean;
  const [left, right] = [a.data as ArrayLike<Operand>, b.data as ArrayLike<Operand>];
  for (let index = 0; index < fromA.length; index += 1) {
    const value = apply(left[fromA[index] ?? 0] ?? 0, right[fromB[index] ?? 0] ?? 0);
    store(result, index, value);
  }
  return result;
}

export function unaryConstant(operator: UnaryOperator | undefined, a: Tensor | undefined): Tensor | undefined {
  if (operator === undefined || a === undefined || !hasArithmetic(a.type) || a.data.length > LARGEST_CONSTANT)
    return undefined;
  const result = zeros(a.type, a.dims);
  const apply = (isWide(a.type) ? operator.bigint : operator.number) as (x: Operand) => Operand;
  const from = a.data as ArrayLike<Operand>;
  for (let index = 0; index < from.length; index += 1) store(result, index, apply(from[index] ?? 0));
  return result;
}

/** The Cast operator between numbers; float to integer truncates, values beyond the target's range are not folded. */
export function castConstant(source: Tensor | undefined, type: ElementType): Tensor | undefined {
  if (source === undefined || source.data.length > LARGEST_CONSTANT) return undefined;
  if (source.type === type) return source;
  if (!hasArithmetic(source.type) || !hasArithmetic(type)) return undefined;
  const result = zeros(type, source.dims);
  const from = source.data as ArrayLike<Operand>;
  const isInteger = !type.startsWith('float') && type !== 'bool';
  for (let index = 0; index < from.length; index += 1) {
    const value = from[index] ?? 0;
    if (isInteger && !Number.isSafeInteger(Math.trunc(Number(value)))) return undefined;
    if (type === 'bool') store(result, index, Number(value) !== 0);
    else store(result, index, isInteger && typeof value === 'number' ? Math.trunc(value) : value);
  }
  return result;
}

/** Where(condition, a, b) with broadcasting. */
export function whereConstant(
  condition: Tensor | undefined,
  a: Tensor | undefined,
  b: Tensor | undefined,
  dims: readonly number[],
): Tensor | undefined {
  if (condition === undefined || a === undefined || b === undefined || a.type !== b.type) return undefined;
  if (elementCount(dims) > LARGEST_CONSTANT) return undefined;
  const chosen = broadcastIndices(condition.dims, dims);
  const whenTrue = selectElements(a, dims, broadcastIndices(a.dims, dims));
  const whenFalse = selectElements(b, dims, broadcastIndices(b.dims, dims));
  const result = zeros(a.type, dims);
  for (let index = 0; index < chosen.length; index += 1) {
    const from = condition.data[chosen[index] ?? 0] ? whenTrue : whenFalse;
    (result.data as { [index: number]: Operand })[index] = (from.data as ArrayLike<Operand>)[index] ?? 0;
  }
  return result;
}

/** Integers of a constant as numbers. */
export function integersOf(source: Tensor): number[] {
  return Array.from(source.data as ArrayLike<Operand>, Number);
}

function store(target: Tensor, index: number, value: Operand | boolean): void {
  if (isWide(target.type)) {
    (target.data as TensorData['int64'])[index] = BigInt(typeof value === 'number' ? Math.trunc(value) : value);
  } else {
    (target.data as TensorData['float64'])[index] = Number(value);
  }
}
