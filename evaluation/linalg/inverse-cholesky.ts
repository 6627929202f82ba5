import type { Breathe } from '../../models/linalg/breathe.js';
import { type Matrix, transpose, zeroMatrix } from '../../models/linalg/matrix.js';
import type { MatrixProducts } from './matrix-products.js';

/**
 * L⁻¹ of a symmetric positive definite A = L·Lᵀ, by halves (Golub & Van Loan, Matrix Computations, §4.2.5 and §3.1.8):
 *   L₁₁⁻¹ from A₁₁,  L₂₁ = A₂₁·L₁₁⁻ᵀ,  L₂₂⁻¹ from A₂₂ − L₂₁·L₂₁ᵀ,  (L⁻¹)₂₁ = −L₂₂⁻¹·L₂₁·L₁₁⁻¹.
 * Nearly all of the 4/3·n³ operations are products. Meant for well-conditioned A: inverses of diagonal blocks are used where a
 * solve would be, which costs a factor κ(L).
 */
export async function inverseCholeskyFactor(a: Matrix, products: MatrixProducts, breathe: Breathe): Promise<Matrix> {
  await breathe();
  const n = a.rows;
  if (n <= LEAF_ROWS) return invertTriangle(choleskyLeaf(a));
  const half = n >> 1;
  const first = await inverseCholeskyFactor(block(a, [0, half], [0, half]), products, breathe);
  const below = await products.timesTransposed(block(a, [half, n], [0, half]), first);
  const rest = block(a, [half, n], [half, n]);
  subtract(rest, await products.timesTransposed(below, below));
  const second = await inverseCholeskyFactor(rest, products, breathe);
  return joined(first, await coupling(first, below, second, products), second);
}

/** Sizes that plain loops do faster than a product with its messages. */
export const LEAF_ROWS = 128;

/** Second⁻¹ · below · first⁻¹. */
async function coupling(first: Matrix, below: Matrix, second: Matrix, products: MatrixProducts): Promise<Matrix> {
  const right = await products.timesTransposed(transpose(first), below); // (below · first)ᵀ
  return products.timesTransposed(second, right);
}

function joined(first: Matrix, coupled: Matrix, second: Matrix): Matrix {
  const half = first.rows;
  const result = zeroMatrix(half + second.rows, half + second.rows);
  const n = result.cols;
  for (let i = 0; i < half; i += 1) result.data.set(first.data.subarray(i * half, (i + 1) * half), i * n);
  for (let i = 0; i < second.rows; i += 1) {
    const at = (half + i) * n;
    for (let j = 0; j < half; j += 1) result.data[at + j] = -(coupled.data[i * half + j] as number);
    result.data.set(second.data.subarray(i * second.cols, (i + 1) * second.cols), at + half);
  }
  return result;
}

/** Rows and columns [first, end) of a matrix, copied. */
export function block(
  of: Matrix,
  [firstRow, endRow]: readonly [number, number],
  [first, end]: readonly [number, number],
): Matrix {
  const result = zeroMatrix(endRow - firstRow, end - first);
  for (let row = firstRow; row < endRow; row += 1) {
    const from = of.data.subarray(row * of.cols + first, row * of.cols + end);
    result.data.set(from, (row - firstRow) * result.cols);
  }
  return result;
}

/** from −= other. */
export function subtract(from: Matrix, other: Matrix): void {
  for (let i = 0; i < from.data.length; i += 1) from.data[i] = (from.data[i] as number) - (other.data[i] as number);
}

/** L of a small A; only the lower triangle of A is read. */
function choleskyLeaf(a: Matrix): Matrix {
  const n = a.rows;
  const l = zeroMatrix(n, n);
  for (let i = 0; i < n; i += 1) {
    for (let j = 0; j <= i; j += 1) {
      const value = (a.data[i * n + j] as number) - rowProduct(l, i, j);
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
