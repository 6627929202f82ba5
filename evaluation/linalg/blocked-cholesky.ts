import type { Breathe } from '../../models/linalg/breathe.js';
import { type Matrix, matrixRow, zeroMatrix } from '../../models/linalg/matrix.js';
import type { HeldMatrices, HeldMatrix } from './held-matrices.js';

/**
 * Cholesky with diagonal pivoting, a panel of rows at a time (Hammarling, Higham & Lucas 2007; Higham 2002, §10.3): pivots are
 * found in plain loops on the rows of the largest diagonal entries, what a panel leaves of the matrix is a large product where
 * the matrix is held. O(d²·panel) in loops, d³/3 and a little more in products.
 */
export interface PivotedFactor {
  /** F [r, d] with Fᵀ·F = S within r·ε·max S[i,i]. Columns are in the order of S. */
  readonly factor: Matrix;
  /** Column k of S was eliminated k-th: F[k, pivots[j]] = 0 for j < k, so F's columns `pivots` are upper triangular. */
  readonly pivots: Uint32Array;
}

const PANEL_ROWS = 64;
/** Rows that are read for a panel: its pivots are nearly always among those that were largest when it began. */
const CANDIDATES = 2 * PANEL_ROWS;
/** What is left of the matrix is cut down to the columns that are left when a panel leaves less than this share of them. */
const CROWDED = 0.8;

/**
 * The factor of a symmetric positive semi-definite S [d, d], which stays the caller's; r is the numerical rank: elimination stops
 * at a pivot below `tolerance` · the largest diagonal entry, d·ε unless the caller knows that S was rounded more coarsely.
 * @throws RangeError when S is not square, not finite, or a diagonal entry falls below that with the other sign
 */
export async function pivotedFactor(
  s: HeldMatrix,
  held: HeldMatrices,
  breathe: Breathe,
  tolerance: number = s.rows * Number.EPSILON,
): Promise<PivotedFactor> {
  if (s.cols !== s.rows) throw new RangeError(`a covariance is square, got [${s.rows}, ${s.cols}]`);
  const state = new Elimination(s, await held.diagonal(s), held, tolerance);
  while (await state.findPanel()) {
    await breathe();
    await state.takePanelOut();
  }
  await state.release();
  return state.result();
}

/** What is left of S, and the rows of F in the columns of S. Of what is left, column i is column `columns[i]` of S. */
class Elimination {
  private readonly d: number;
  private readonly threshold: number;
  private readonly rows: Float64Array[] = [];
  private readonly pivots: number[] = [];
  private rest: HeldMatrix;
  private columns: Uint32Array;
  /** Of what is left, and 0 of eliminated columns. */
  private diagonal: Float64Array;
  private eliminated: Uint8Array;
  /** Rows of F of the current panel in the columns that are left. */
  private panel: Float64Array[] = [];
  private ended = false;

  constructor(
    private readonly s: HeldMatrix,
    diagonal: Float64Array,
    private readonly held: HeldMatrices,
    tolerance: number,
  ) {
    this.d = s.rows;
    this.rest = s;
    this.columns = Uint32Array.from({ length: this.d }, (_, i) => i);
    this.eliminated = new Uint8Array(this.d);
    this.diagonal = Float64Array.from(diagonal);
    const largest = diagonal.reduce((most, value) => Math.max(most, value), 0);
    if (!Number.isFinite(largest)) throw new RangeError('a factor of a matrix that is not finite');
    this.threshold = tolerance * largest;
  }

  /** Finds up to PANEL_ROWS rows of F; false when nothing is left for `takePanelOut`. */
  async findPanel(): Promise<boolean> {
    this.panel = [];
    if (this.ended) return false;
    const read = await this.candidates();
    const most = Math.min(PANEL_ROWS, this.d - this.rows.length);
    while (this.panel.length < most) {
      const pivot = this.nextPivot();
      if (pivot === null) break;
      const row = read.get(pivot) ?? matrixRow(await this.held.read(this.rest, [pivot, pivot + 1]), 0);
      this.eliminate(pivot, row);
    }
    this.ended ||= this.rows.length === this.d;
    return !this.ended;
  }

  /** rest ← rest − panelᵀ·panel; without the eliminated columns when they are many. */
  async takePanelOut(): Promise<void> {
    const { held, panel } = this;
    const kept = Uint32Array.from(this.columns.keys()).filter((i) => this.eliminated[i] === 0);
    const isCrowded = kept.length < CROWDED * this.columns.length;
    const width = isCrowded ? kept.length : this.columns.length;
    const taken = zeroMatrix(panel.length, width);
    for (const [k, row] of panel.entries()) {
      if (isCrowded) for (const [i, column] of kept.entries()) taken.data[k * width + i] = row[column] as number;
      else taken.data.set(row, k * width);
    }
    const out = await held.hold(taken);
    const left = isCrowded ? await this.cutDown(kept) : this.rest;
    await this.replace(await held.product(out, out, { turnA: true, minus: true, plus: left }));
    await held.free(out, ...(isCrowded ? [left] : []));
  }

  async release(): Promise<void> {
    await this.replace(this.s);
  }

  result(): PivotedFactor {
    const factor = zeroMatrix(this.rows.length, this.d);
    for (const [k, row] of this.rows.entries()) factor.data.set(row, k * this.d);
    return { factor, pivots: Uint32Array.from(this.pivots) };
  }

  private async replace(rest: HeldMatrix): Promise<void> {
    const last = this.rest;
    this.rest = rest;
    if (last !== this.s) await this.held.free(last);
  }

  private async cutDown(kept: Uint32Array): Promise<HeldMatrix> {
    const rows = await this.held.pick(this.rest, 'rows', kept);
    const left = await this.held.pick(rows, 'cols', kept);
    await this.held.free(rows);
    this.columns = kept.map((i) => this.columns[i] as number);
    this.diagonal = Float64Array.from(kept, (i) => this.diagonal[i] as number);
    this.eliminated = new Uint8Array(kept.length);
    return left;
  }

  /** Rows of the largest diagonal entries, by their place in what is left. */
  private async candidates(): Promise<Map<number, Float64Array>> {
    const { diagonal, eliminated, held } = this;
    const places = Array.from(this.columns.keys()).filter((i) => eliminated[i] === 0);
    places.sort((a, b) => (diagonal[b] as number) - (diagonal[a] as number) || a - b);
    const picked = Uint32Array.from(places.slice(0, CANDIDATES));
    const rows = await held.pick(this.rest, 'rows', picked);
    const fetched = await held.read(rows);
    await held.free(rows);
    return new Map(Array.from(picked, (place, i) => [place, matrixRow(fetched, i)]));
  }

  /** The place of the largest diagonal entry that is left; null, and the elimination ends, when that is rounding. */
  private nextPivot(): number | null {
    const { diagonal, threshold } = this;
    let pivot = 0;
    for (let i = 0; i < diagonal.length; i += 1) {
      const value = diagonal[i] as number;
      if (value > (diagonal[pivot] as number)) pivot = i;
      if (!(value >= -threshold)) throw new RangeError(`not positive semi-definite: ${value} on the diagonal`);
    }
    this.ended = !((diagonal[pivot] as number) > threshold);
    return this.ended ? null : pivot;
  }

  /** F[k, j] = (rest[pivot, j] − Σ over the panel's rows l of F[l, pivot]·F[l, j]) / root. */
  private eliminate(pivot: number, rest: Float64Array): void {
    const { diagonal, eliminated, columns } = this;
    const root = Math.sqrt(diagonal[pivot] as number);
    const row = Float64Array.from(rest);
    for (const earlier of this.panel) {
      const left = earlier[pivot] as number;
      for (let j = 0; j < row.length; j += 1) row[j] = (row[j] as number) - left * (earlier[j] as number);
    }
    eliminated[pivot] = 1;
    const whole = new Float64Array(this.d);
    for (let j = 0; j < row.length; j += 1) {
      row[j] = eliminated[j] === 1 ? 0 : (row[j] as number) / root;
      diagonal[j] = eliminated[j] === 1 ? 0 : (diagonal[j] as number) - (row[j] as number) ** 2;
      whole[columns[j] as number] = row[j] as number;
    }
    row[pivot] = root;
    whole[columns[pivot] as number] = root;
    this.panel.push(row);
    this.rows.push(whole);
    this.pivots.push(columns[pivot] as number);
  }
}
