import type { Breathe } from '../../models/linalg/breathe.js';
import { type Matrix, matrixRow, zeroMatrix } from '../../models/linalg/matrix.js';
import type { MatrixProducts } from './matrix-products.js';

/**
 * Cholesky with diagonal pivoting, a panel of rows at a time (Hammarling, Higham & Lucas 2007; Higham 2002, §10.3): pivots are
 * found in plain loops, what a panel leaves of the matrix is a large product. O(d²·panel) in loops, d³/3 in products.
 */
export interface PivotedFactor {
  /** F [r, d] with Fᵀ·F = S within r·ε·max S[i,i]. Columns are in the order of S. */
  readonly factor: Matrix;
  /** Column k of S was eliminated k-th: F[k, pivots[j]] = 0 for j < k, so F's columns `pivots` are upper triangular. */
  readonly pivots: Uint32Array;
}

const PANEL_ROWS = 64;

/**
 * The factor of a symmetric positive semi-definite S [d, d]; r is the numerical rank: elimination stops at a pivot below
 * `tolerance` · the largest diagonal entry, d·ε unless the caller knows that S was rounded more coarsely.
 * @throws RangeError when S is not square, not finite, or a diagonal entry falls below that with the other sign
 */
export async function pivotedFactor(
  s: Matrix,
  products: MatrixProducts,
  breathe: Breathe,
  tolerance: number = s.rows * Number.EPSILON,
): Promise<PivotedFactor> {
  if (s.cols !== s.rows) throw new RangeError(`a covariance is square, got [${s.rows}, ${s.cols}]`);
  const state = new Elimination(s, tolerance);
  while (state.findPanel()) {
    await breathe();
    await state.takePanelOut(products);
  }
  return state.result();
}

/** S and the rows of F, both in the order of the pivots found so far. */
class Elimination {
  private readonly d: number;
  private readonly rest: Float64Array;
  private readonly order: Uint32Array;
  private readonly rows: Float64Array[] = [];
  private readonly threshold: number;
  /** First row of the current panel; the rows before it are taken out of `rest`. */
  private first = 0;
  private ended = false;

  constructor(s: Matrix, tolerance: number) {
    this.d = s.rows;
    this.rest = Float64Array.from(s.data);
    this.order = Uint32Array.from({ length: s.rows }, (_, i) => i);
    const largest = this.order.reduce((most, i) => Math.max(most, s.data[i * s.rows + i] as number), 0);
    if (!Number.isFinite(largest)) throw new RangeError('a factor of a matrix that is not finite');
    this.threshold = tolerance * largest;
  }

  /** Finds up to PANEL_ROWS rows of F; false when nothing is left for `takePanelOut`. */
  findPanel(): boolean {
    const { d } = this;
    this.first = this.rows.length;
    if (this.ended) return false;
    const diagonal = Float64Array.from({ length: d }, (_, i) => this.rest[i * d + i] as number);
    const end = Math.min(d, this.first + PANEL_ROWS);
    while (this.rows.length < end && !this.ended) this.findRow(diagonal);
    this.ended ||= end === d;
    return !this.ended;
  }

  /** rest ← rest − panelᵀ·panel, behind the panel. */
  async takePanelOut(products: MatrixProducts): Promise<void> {
    const { d, first, rest } = this;
    const end = this.rows.length;
    const panel = zeroMatrix(d - end, end - first);
    for (let k = first; k < end; k += 1) {
      const row = this.rows[k] as Float64Array;
      for (let j = end; j < d; j += 1) panel.data[(j - end) * panel.cols + k - first] = row[j] as number;
    }
    const { data } = await products.timesTransposed(panel, panel);
    const width = d - end;
    for (let i = 0; i < width; i += 1) {
      const at = (end + i) * d + end;
      for (let j = 0; j < width; j += 1) rest[at + j] = (rest[at + j] as number) - (data[i * width + j] as number);
    }
  }

  result(): PivotedFactor {
    const factor = zeroMatrix(this.rows.length, this.d);
    for (const [k, row] of this.rows.entries()) {
      const target = matrixRow(factor, k);
      for (let j = k; j < this.d; j += 1) target[this.order[j] as number] = row[j] as number;
    }
    return { factor, pivots: this.order.slice(0, this.rows.length) };
  }

  /** The row of the largest diagonal entry that is left; ends the elimination when that is rounding. */
  private findRow(diagonal: Float64Array): void {
    const k = this.rows.length;
    let pivot = k;
    for (let i = k; i < this.d; i += 1) {
      if ((diagonal[i] as number) > (diagonal[pivot] as number)) pivot = i;
      if (!((diagonal[i] as number) >= -this.threshold)) {
        throw new RangeError(`not positive semi-definite: ${diagonal[i]} on the diagonal`);
      }
    }
    if (!((diagonal[pivot] as number) > this.threshold)) {
      this.ended = true;
      return;
    }
    this.swap(k, pivot, diagonal);
    const row = this.eliminated(k, Math.sqrt(diagonal[k] as number));
    for (let j = k + 1; j < this.d; j += 1) diagonal[j] = (diagonal[j] as number) - (row[j] as number) ** 2;
    this.rows.push(row);
  }

  /** F[k, j] = (rest[k, j] − Σ over the panel's rows l of F[l, k]·F[l, j]) / root for j ≥ k. */
  private eliminated(k: number, root: number): Float64Array {
    const { d } = this;
    const row = new Float64Array(d);
    row.set(this.rest.subarray(k * d + k, (k + 1) * d), k);
    for (let l = this.first; l < k; l += 1) {
      const earlier = this.rows[l] as Float64Array;
      const left = earlier[k] as number;
      for (let j = k; j < d; j += 1) row[j] = (row[j] as number) - left * (earlier[j] as number);
    }
    row[k] = root;
    for (let j = k + 1; j < d; j += 1) row[j] = (row[j] as number) / root;
    return row;
  }

  /** Exchanges two columns (and rows) of everything from the current panel on, and two columns of the rows of F. */
  private swap(a: number, b: number, diagonal: Float64Array): void {
    if (a === b) return;
    const { d, rest } = this;
    const row = rest.slice(a * d, (a + 1) * d);
    rest.copyWithin(a * d, b * d, (b + 1) * d);
    rest.set(row, b * d);
    for (let i = this.first; i < d; i += 1) exchange(rest, i * d + a, i * d + b);
    for (const of of this.rows) exchange(of, a, b);
    exchange(diagonal, a, b);
    exchange(this.order, a, b);
  }
}

function exchange(of: Float64Array | Uint32Array, a: number, b: number): void {
  const held = of[a] as number;
  of[a] = of[b] as number;
  of[b] = held;
}
