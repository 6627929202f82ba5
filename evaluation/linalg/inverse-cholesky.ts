import type { Breathe } from '../../models/linalg/breathe.js';
import { type Matrix, zeroMatrix } from '../../models/linalg/matrix.js';
import { type HeldMatrices, type HeldMatrix, scoped } from './held-matrices.js';

/**
 * L⁻¹ of a symmetric positive definite A + shift·I = L·Lᵀ, by halves (Golub & Van Loan, Matrix Computations, §4.2.5 and §3.1.8):
 *   L₁₁⁻¹ from A₁₁,  L₂₁ = A₂₁·L₁₁⁻ᵀ,  L₂₂⁻¹ from A₂₂ − L₂₁·L₂₁ᵀ,  (L⁻¹)₂₁ = −L₂₂⁻¹·L₂₁·L₁₁⁻¹.
 * Nearly all of the 4/3·n³ operations are products. Meant for well-conditioned A: inverses of diagonal blocks are used where a
 * solve would be, which costs a factor κ(L).
 */
export async function inverseCholeskyFactor(
  a: HeldMatrix,
  held: HeldMatrices,
  breathe: Breathe,
  shift = 0,
): Promise<HeldMatrix> {
  await breathe();
  const n = a.rows;
  if (n <= LEAF_ROWS) return held.hold(invertTriangle(choleskyLeaf(await held.read(a), shift)));
  return scoped(held, async (own) => {
    const upper = [0, n >> 1] as const;
    const first = await inverseCholeskyFactor(await own.block(a, upper, upper), own, breathe, shift);
    const [below, rest] = await own.eliminated(a, first);
    const second = await inverseCholeskyFactor(rest, own, breathe, shift);
    return own.joinedTriangles(first, below, second);
  });
}

/** Sizes that plain loops do faster than a product with its messages. */
export const LEAF_ROWS = 128;

/** L of a small A + shift·I; only the lower triangle of A is read. */
function choleskyLeaf(a: Matrix, shift: number): Matrix {
  const n = a.rows;
  const l = zeroMatrix(n, n);
  for (let i = 0; i < n; i += 1) {
    for (let j = 0; j <= i; j += 1) {
      const value = (a.data[i * n + j] as number) + (i === j ? shift : 0) - rowProduct(l, i, j);
      if (i > j) l.data[i * n + j] = value / (l.data[j * n + j] as number);
      else if (value > 0) l.data[i * n + i] = Math.sqrt(value);
      else throw new RangeError('the matrix is not positive definite');
    }
  }
  return l;
}

/** Σ_{k<j} L[i,k]·L[j,k]. */
function rowProduct({ cols: n, data }: Matrix, i: number, j: number): number {
  let sum = 0;
  for (let k = 0; k < j; k += 1) sum += (data[i * n + k] as number) * (data[j * n + k] as number);
  return sum;
}

/** Of a small L: row i of L⁻¹ is (eᵢ − Σ_{k<i} L[i,k]·row k) / L[i,i]. */
export function invertTriangle(l: Matrix): Matrix {
  const n = l.rows;
  const result = zeroMatrix(n, n);
  for (let i = 0; i < n; i += 1) {
    const pivot = l.data[i * n + i] as number;
    for (let k = 0; k < i; k += 1) {
      const factor = (l.data[i * n + k] as number) / pivot;
      for (let j = 0; j <= k; j += 1) {
        result.data[i * n + j] = (result.data[i * n + j] as number) - factor * (result.data[k * n + j] as number);
      }
    }
    result.data[i * n + i] = 1 / pivot;
  }
  return result;
}
