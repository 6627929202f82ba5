import { type Matrix, multiplyTransposed } from '../../models/linalg/matrix.js';
import type { HeldMatrices } from './held-matrices.js';

/**
 * Large float64 products. Metrics get one, so that the same code runs on plain loops or on a runtime's kernels. Results of
 * implementations agree to rounding; one implementation gives the same bits for the same operands.
 */
export interface MatrixProducts {
  /** a · bᵀ: [m, k] and [n, k] give [m, n]. */
  timesTransposed(a: Matrix, b: Matrix): Promise<Matrix>;
  /** Where long computations keep what they hand from product to product; without, they keep it in this process. */
  readonly held?: HeldMatrices;
}

/** Plain loops: for small matrices and for callers without an executor. */
export const plainProducts: MatrixProducts = {
  timesTransposed: async (a, b) => multiplyTransposed(a, b),
};
