import { type Matrix, zeroMatrix } from '../../models/linalg/matrix.js';
import { type Float32Tensor, float32 } from '../../models/tensors/tensor.js';

/** How a weight lies in memory: which axis holds output channels, which input channels; the others are kernel taps. */
export interface WeightLayout {
  readonly dims: readonly number[];
  readonly outputAxis: number;
  readonly inputAxis: number;
}

/** A weight as [output channels, taps · input channels]: tap t of input channel c in column t · Ci + c. */
export function weightMatrix(weight: Float32Tensor, layout: WeightLayout): Matrix {
  const { outputs, columns, positionOf } = indexing(layout);
  const matrix = zeroMatrix(outputs, columns);
  for (let row = 0; row < outputs; row += 1) {
    for (let column = 0; column < columns; column += 1) {
      matrix.data[row * columns + column] = weight.data[positionOf(row, column)] as number;
    }
  }
  return matrix;
}

/** The reverse of `weightMatrix`. */
export function weightFromMatrix(matrix: Matrix, layout: WeightLayout): Float32Tensor {
  const { outputs, columns, positionOf } = indexing(layout);
  const data = new Float32Array(outputs * columns);
  for (let row = 0; row < outputs; row += 1) {
    for (let column = 0; column < columns; column += 1) {
      data[positionOf(row, column)] = matrix.data[row * columns + column] as number;
    }
  }
  return float32(layout.dims, data);
}

/** Kernel positions per pair of channels; 1 for linear layers. */
export function tapsOf({ dims }: WeightLayout): number {
  return dims.slice(2).reduce((product, dim) => product * dim, 1);
}

function indexing(layout: WeightLayout): {
  readonly outputs: number;
  readonly columns: number;
  readonly positionOf: (row: number, column: number) => number;
} {
  const { dims, outputAxis, inputAxis } = layout;
  const taps = tapsOf(layout);
  const outputs = dims[outputAxis] ?? 0;
  const inputs = dims[inputAxis] ?? 0;
  const stride = (axis: number): number => dims.slice(axis + 1).reduce((product, dim) => product * dim, 1);
  const [outputStride, inputStride] = [stride(outputAxis), stride(inputAxis)];
  return {
    outputs,
    columns: taps * inputs,
    positionOf: (row, column) => row * outputStride + (column % inputs) * inputStride + Math.floor(column / inputs),
  };
}
