import type { Breathe } from '../../models/linalg/breathe.js';
import { type Matrix, zeroMatrix } from '../../models/linalg/matrix.js';
import { block, invertTriangle, LEAF_ROWS, subtract } from './inverse-cholesky.js';
import type { MatrixProducts } from './matrix-products.js';

/**
 * Q with L·qᵢ = xᵢ for every row xᵢ of X [n, r] and a lower triangular L [r, r], by halves (Golub & Van Loan, §3.1.4):
 *   Q₁ from L₁₁ and X₁,   Q₂ from L₂₂ and X₂ − Q₁·L₂₁ᵀ.
 * Small triangles are inverted. n·r² operations, nearly all of them products.
 */
export async function solveLowerTriangle(
  l: Matrix,
  x: Matrix,
  products: MatrixProducts,
  breathe: Breathe,
): Promise<Matrix> {
  await breathe();
  const r = l.rows;
  if (r <= LEAF_ROWS) return products.timesTransposed(x, invertTriangle(l));
  const half = r >> 1;
  const first = await solveLowerTriangle(
    block(l, [0, half], [0, half]),
    block(x, [0, x.rows], [0, half]),
    products,
    breathe,
  );
  const rest = block(x, [0, x.rows], [half, r]);
  subtract(rest, await products.timesTransposed(first, block(l, [half, r], [0, half])));
  const second = await solveLowerTriangle(block(l, [half, r], [half, r]), rest, products, breathe);
  const result = zeroMatrix(x.rows, r);
  for (let i = 0; i < x.rows; i += 1) {
    result.data.set(first.data.subarray(i * half, (i + 1) * half), i * r);
    result.data.set(second.data.subarray(i * second.cols, (i + 1) * second.cols), i * r + half);
  }
  return result;
}
