import { type Breathe, withoutPause } from '../../models/linalg/breathe.js';
import { choleskyFactor, ridged, solveTransposed } from '../../models/linalg/cholesky.js';
import {
  type Matrix,
  matrixRow,
  multiplyTransposed,
  multiplyTransposedSlowly,
  transpose,
  zeroMatrix,
} from '../../models/linalg/matrix.js';
import { symmetricEigen } from '../../models/linalg/symmetric-eigen.js';
import { halfFromNumber, numberFromHalf } from '../../models/tensors/float16.js';
import { type Float32Tensor, float32 } from '../../models/tensors/tensor.js';
import type { PlannedLayer, PlannedWeight } from '../layer-plan.js';
import type { LowRankBranch } from '../quantized-parameters.js';
import { tapsOf, weightFromMatrix, weightMatrix } from './weight-matrix.js';

/**
 * The best float side branch L of rank r for one layer (after SVDQuant, Li et al., ICLR 2025, §4.2; LQER, Zhang et al., ICML
 * 2024, §3). With x̂ = x + e the quantized input, y = W x becomes (W − L)(x + e) + L x, so what is left of the error is
 *
 *   E|H (W − L) e|² = |H (W − L) S|²_F,   S Sᵀ = E[e eᵀ],   HᵀH = G
 *
 * where dᵀ G d is what an error d of the layer's output costs the network (layer-statistics.ts), or G = I. By Eckart & Young the minimum over rank r
 * is at L = H⁻¹ U_r U_rᵀ H W with U_r the first left singular vectors of C = H W S, and the r-th singular vector takes σ_r² off.
 * Kernel taps of a convolution see errors of different pixels, which are taken for independent.
 */
export interface BranchProblem {
  readonly weight: Float32Tensor;
  readonly layout: PlannedWeight;
  /** E[e eᵀ] of the layer's input, [Ci, Ci]. */
  readonly errors: Matrix;
  /** G, [Co, Co], or null for the identity. */
  readonly sensitivity: Matrix | null;
}

/** Everything needed to cut a branch of any rank. */
export interface BranchSpectrum {
  /** σ², largest first: what each further rank takes off the error. */
  readonly gains: Float64Array;
  /** Row i is the i-th left singular vector of C. */
  readonly vectors: Matrix;
  readonly weight: Matrix;
  /** Hᵀ, lower triangular; null for the identity. */
  readonly factor: Matrix | null;
}

/** Share of mean(diag E) added to E: sums in float32 leave eigenvalues of −1e-7 of the largest, which is up to Ci · mean(diag E). */
const RIDGE = 1e-4;
/** The same for G: directions of the output that the network hardly hears must not blow up in H⁻¹. */
const SENSITIVITY_RIDGE = 1e-3;

export async function branchSpectrum(
  { weight, layout, errors, sensitivity }: BranchProblem,
  breathe: Breathe = withoutPause,
): Promise<BranchSpectrum> {
  const matrix = weightMatrix(weight, layout);
  const factor = sensitivity === null ? null : choleskyFactor(ridged(sensitivity, SENSITIVITY_RIDGE));
  const heard = await timesTransposed(factor, matrix, breathe);
  const inputFactor = transpose(choleskyFactor(ridged(errors, RIDGE)));
  const spread = await timesFactor(heard, inputFactor, tapsOf(layout), breathe);
  if (spread.rows <= spread.cols) {
    const { values, vectors } = await symmetricEigen(await multiplyTransposedSlowly(spread, spread, breathe), breathe);
    return { gains: nonNegative(values), vectors, weight: matrix, factor };
  }
  const columns = transpose(spread);
  const { values, vectors } = await symmetricEigen(await multiplyTransposedSlowly(columns, columns, breathe), breathe);
  const gains = nonNegative(values);
  return { gains, vectors: leftVectors(spread, vectors, gains), weight: matrix, factor };
}

/** H · W. */
async function timesTransposed(factor: Matrix | null, matrix: Matrix, breathe: Breathe): Promise<Matrix> {
  return factor === null ? matrix : multiplyTransposedSlowly(transpose(factor), transpose(matrix), breathe);
}

/** W · (I ⊗ S) for taps that share S, given Sᵀ. */
async function timesFactor(matrix: Matrix, transposedFactor: Matrix, taps: number, breathe: Breathe): Promise<Matrix> {
  const inputs = transposedFactor.rows;
  if (inputs * taps !== matrix.cols)
    throw new RangeError(`${matrix.cols} columns for ${taps} taps of ${inputs} inputs`);
  const result = zeroMatrix(matrix.rows, matrix.cols);
  for (let tap = 0; tap < taps; tap += 1) {
    const part = zeroMatrix(matrix.rows, inputs);
    for (let row = 0; row < matrix.rows; row += 1) {
      matrixRow(part, row).set(matrixRow(matrix, row).subarray(tap * inputs, (tap + 1) * inputs));
    }
    const product = await multiplyTransposedSlowly(part, transposedFactor, breathe);
    for (let row = 0; row < matrix.rows; row += 1) matrixRow(result, row).set(matrixRow(product, row), tap * inputs);
  }
  return result;
}

/** u = C v / σ; rows of vanishing σ are left zero, and no branch uses them. */
function leftVectors(spread: Matrix, right: Matrix, gains: Float64Array): Matrix {
  const left = multiplyTransposed(right, spread);
  const least = (gains[0] ?? 0) * Number.EPSILON;
  for (let row = 0; row < left.rows; row += 1) {
    const gain = gains[row] as number;
    const factor = gain > least ? 1 / Math.sqrt(gain) : 0;
    const values = matrixRow(left, row);
    for (let at = 0; at < values.length; at += 1) values[at] = (values[at] as number) * factor;
  }
  return left;
}

function nonNegative(values: Float64Array): Float64Array {
  return values.map((value) => Math.max(0, value));
}

/** The branch of rank r, and the weight that it leaves for rounding. */
export async function cutBranch(
  spectrum: BranchSpectrum,
  rank: number,
  layer: Pick<PlannedLayer, 'opType'>,
  layout: PlannedWeight,
  breathe: Breathe = withoutPause,
): Promise<{ readonly branch: LowRankBranch; readonly rest: Float32Tensor }> {
  const { weight, vectors, factor } = spectrum;
  const up = zeroMatrix(weight.rows, rank);
  const down = zeroMatrix(rank, weight.cols);
  const columns = transpose(await timesTransposed(factor, weight, breathe));
  for (let index = 0; index < rank; index += 1) {
    const vector = matrixRow(vectors, index);
    const image = multiplyTransposed({ rows: 1, cols: vector.length, data: vector }, columns).data;
    const raised = factor === null ? vector : solveTransposed(factor, vector);
    const balance = Math.sqrt(peakOf(image) / Math.max(peakOf(raised), Number.MIN_VALUE)) || 1;
    matrixRow(down, index).set(image.map((value) => asHalf(value / balance)));
    for (let row = 0; row < weight.rows; row += 1)
      up.data[row * rank + index] = asHalf((raised[row] as number) * balance);
  }
  const product = await multiplyTransposedSlowly(up, transpose(down), breathe);
  const rest = { ...weight, data: weight.data.map((value, at) => value - (product.data[at] as number)) };
  return { branch: factorsOf(up, down, layer, layout), rest: weightFromMatrix(rest, layout) };
}

function asHalf(value: number): number {
  return numberFromHalf(halfFromNumber(value));
}

function peakOf(values: Float64Array): number {
  return values.reduce((peak, value) => Math.max(peak, Math.abs(value)), 0);
}

/** Factors in the layout in which the branch's own nodes read them. */
function factorsOf(
  up: Matrix,
  down: Matrix,
  { opType }: Pick<PlannedLayer, 'opType'>,
  { dims, inputAxis }: PlannedWeight,
): LowRankBranch {
  const rank = down.rows;
  if (opType !== 'Conv') {
    return {
      down: float32([down.cols, rank], transpose(down).data),
      up: float32([rank, up.rows], transpose(up).data),
    };
  }
  const inputs = dims[inputAxis] ?? 0;
  const layout = { dims: [rank, inputs, ...dims.slice(2)], outputAxis: 0, inputAxis: 1 };
  return {
    down: weightFromMatrix(down, layout),
    up: float32([up.rows, rank, ...dims.slice(2).map(() => 1)], up.data),
  };
}
