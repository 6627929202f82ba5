import type { Breathe } from '../../models/linalg/breathe.js';
import { transpose } from '../../models/linalg/matrix.js';
import { type HeldMatrices, type HeldMatrix, type Range, scoped } from './held-matrices.js';
import { invertTriangle, LEAF_ROWS } from './inverse-cholesky.js';

/**
 * Q [r, n] with Uᵀ·qᵢ = xᵢ for every row xᵢ of X [n, r], qᵢ being column i, and an upper triangular U [r, r], by halves (Golub &
 * Van Loan, §3.1.4):
 *   Q₁ from U₁₁ and X₁,   Q₂ from U₂₂ and X₂ − Q₁ᵀ·U₁₂.
 * Small triangles are inverted. n·r² operations, nearly all of them products.
 */
export async function solveTriangle(
  u: HeldMatrix,
  x: HeldMatrix,
  held: HeldMatrices,
  breathe: Breathe,
): Promise<HeldMatrix> {
  await breathe();
  return scoped(held, async (own) => {
    const r = u.rows;
    if (r <= LEAF_ROWS) {
      const inverse = await own.hold(invertTriangle(transpose(await own.read(u))));
      return own.product(inverse, x, { turnB: true });
    }
    const half = r >> 1;
    const [upper, lower]: [Range, Range] = [
      [0, half],
      [half, r],
    ];
    const rows: Range = [0, x.rows];
    const first = await solveTriangle(await own.block(u, upper, upper), await own.block(x, rows, upper), own, breathe);
    const coupling = await own.block(u, upper, lower);
    const plus = await own.block(x, rows, lower);
    const rest = await own.product(first, coupling, { turnA: true, minus: true, plus });
    const second = await solveTriangle(await own.block(u, lower, lower), rest, own, breathe);
    return own.stack([first, second]);
  });
}
