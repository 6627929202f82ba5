import { type Matrix, multiplyTransposed } from '../../models/linalg/matrix.js';

/**
 * Large float64 products. Metrics get one, so that the same code runs on plain loops or on a runtime's kernels. Results of
 * implementations agree to rounding; one implementation gives the same bits for the same operands.
 */
export interface MatrixProducts {
  /** a · bᵀ: [m, k] and [n, k] give [m, n]. */
  timesTransposed(a: Matrix, b: Matrix): Promise<Matrix>;
  /** The same, returning as soon as the operands are where the product is computed, so that the caller can do other work. */
  startTimesTransposed?(a: Matrix, b: Matrix): Promise<StartedProduct>;
}

/** A product on its way. Whoever gives it up need not wait: its failure is then nobody's. */
export interface StartedProduct {
  readonly result: Promise<Matrix>;
}

/** Starts a · bᵀ, or computes it where nothing runs beside the caller. */
export async function startedProduct(products: MatrixProducts, a: Matrix, b: Matrix): Promise<StartedProduct> {
  if (products.startTimesTransposed !== undefined) return products.startTimesTransposed(a, b);
  return { result: Promise.resolve(await products.timesTransposed(a, b)) };
}

/** Plain loops: for small matrices and for callers without an executor. */
export const plainProducts: MatrixProducts = {
  timesTransposed: async (a, b) => multiplyTransposed(a, b),
};
