import { type Float32Tensor, float32 } from '../tensors/tensor.js';

/** Σ coefficient · tensor, element by element, summed in doubles in the order given and rounded once to float32. */
export function linearCombination(
  terms: readonly (readonly [coefficient: number, value: Float32Tensor])[],
): Float32Tensor {
  const [first] = terms;
  if (first === undefined) throw new RangeError('linearCombination needs at least one term');
  const dims = first[1].dims;
  for (const [, value] of terms) checkSameDims(dims, value.dims);
  const result = new Float32Array(first[1].data.length);
  for (let i = 0; i < result.length; i += 1) {
    let sum = 0;
    for (const [coefficient, value] of terms) sum += coefficient * (value.data[i] ?? 0);
    result[i] = sum;
  }
  return float32(dims, result);
}

/** @throws RangeError when the dims differ */
export function checkSameDims(a: readonly number[], b: readonly number[]): void {
  if (a.length !== b.length || a.some((dim, axis) => dim !== b[axis])) {
    throw new RangeError(`tensors of dims [${a.join(', ')}] and [${b.join(', ')}] do not fit together`);
  }
}

/** Every element times `factor`, rounded to float32. */
export function scaled(value: Float32Tensor, factor: number): Float32Tensor {
  return linearCombination([[factor, value]]);
}

/** Element `index` of a table. @throws RangeError when it is outside */
export function at(table: ArrayLike<number>, index: number): number {
  const value = table[index];
  if (value === undefined) throw new RangeError(`index ${index} is outside a table of ${table.length}`);
  return value;
}
