import { type Matrix, zeroMatrix } from '../../models/linalg/matrix.js';
import type { PairGeometry, PairTile } from './pairwise-pass.js';

/** Rows of each side that belong together; both lists are equally long. */
export interface KernelSubsets {
  readonly fake: readonly Uint32Array[];
  readonly real: readonly Uint32Array[];
}

type Side = 'fake' | 'real';

/**
 * Sums of the cubic kernel (x·y/d + 1)³ over streamed tiles: of every row, of given subsets, and its values on chosen rows.
 *
 * Every value is taken minus a³, a = |c|²/d + 1, its value at the centre c: a constant falls out of every MMD, and with
 * e = x·y/d − |c|²/d the rest is e·(e·(e + 3a) + 3a²) without cancellation, however far from the origin the features are.
 */
export class KernelSums {
  /** Σ over the other rows of the same set, [n] and [m]. */
  readonly within: Record<'fake' | 'real', Float64Array>;
  /** Σ over all rows of the other set. */
  readonly across: Record<'fake' | 'real', Float64Array>;
  /** Σ over pairs i < j, or over all pairs of `cross`, of each subset. */
  readonly subsetSums: Record<PairTile['block'], Float64Array>;
  /** Of each fake row and its partner; empty without partners. */
  readonly partnered: Float64Array;
  /** Kernel of the sampled rows, fake ones first; diagonal 0. */
  readonly sampled: Matrix;
  private readonly subsets: Record<'fake' | 'real', readonly Uint32Array[]>;
  private readonly sample: Record<'fake' | 'real', Uint32Array>;
  private scratch = new Float64Array(0);

  constructor(
    private readonly geometry: PairGeometry,
    subsets: KernelSubsets,
    sample: { readonly fake: Uint32Array; readonly real: Uint32Array },
    private readonly partners: Uint32Array = new Uint32Array(0),
  ) {
    this.partnered = new Float64Array(partners.length);
    const { fake, real } = geometry;
    this.within = { fake: new Float64Array(fake.n), real: new Float64Array(real.n) };
    this.across = { fake: new Float64Array(fake.n), real: new Float64Array(real.n) };
    const count = subsets.fake.length;
    this.subsetSums = { fake: new Float64Array(count), real: new Float64Array(count), cross: new Float64Array(count) };
    const ascending = (indices: Uint32Array): Uint32Array => Uint32Array.from(indices).sort();
    this.subsets = { fake: subsets.fake.map(ascending), real: subsets.real.map(ascending) };
    this.sample = { fake: ascending(sample.fake), real: ascending(sample.real) };
    const sampled = sample.fake.length + sample.real.length;
    this.sampled = zeroMatrix(sampled, sampled);
  }

  add(tile: PairTile): void {
    const rowSide = tile.block === 'real' ? 'real' : 'fake';
    const columnSide = tile.block === 'fake' ? 'fake' : 'real';
    const isDiagonal = tile.block !== 'cross' && tile.firstRow === tile.firstColumn;
    const kernel = this.addKernel(tile, rowSide, columnSide, isDiagonal);
    const sums = this.subsetSums[tile.block];
    for (let s = 0; s < sums.length; s += 1) {
      const left = inRange(this.subsets[rowSide][s], tile.firstRow, kernel.rows);
      const right = inRange(this.subsets[columnSide][s], tile.firstColumn, kernel.cols);
      sums[s] = (sums[s] as number) + sumOfPairs(kernel, tile, isDiagonal, left, right);
    }
    this.keepSampled(kernel, tile, rowSide, columnSide, isDiagonal);
    if (tile.block === 'cross') this.keepPartnered(kernel, tile);
  }

  private keepPartnered({ rows, cols, data }: Matrix, { firstRow, firstColumn }: PairTile): void {
    const end = Math.min(rows, this.partners.length - firstRow);
    for (let i = 0; i < end; i += 1) {
      const column = (this.partners[firstRow + i] as number) - firstColumn;
      if (column >= 0 && column < cols) this.partnered[firstRow + i] = data[i * cols + column] as number;
    }
  }

  /** The kernel's values, added to the sums of their rows and columns; of the diagonal tile only those with j > i. */
  private addKernel(tile: PairTile, rowSide: Side, columnSide: Side, isDiagonal: boolean): Matrix {
    const { rows, cols, data } = tile.products;
    if (this.scratch.length < data.length) this.scratch = new Float64Array(data.length);
    const { scratch } = this;
    const { d, centreSquare } = this.geometry;
    const a = centreSquare / d + 1;
    const [linear, quadratic, share] = [3 * a * a, 3 * a, 1 / d];
    const alongOf = (side: Side, first: number, count: number): Float64Array =>
      this.geometry[side].alongCentre.subarray(first, first + count).map((value) => value / d);
    const alongRows = alongOf(rowSide, tile.firstRow, rows);
    const along = alongOf(columnSide, tile.firstColumn, cols);
    const rowSums = tile.block === 'cross' ? this.across.fake : this.within[rowSide];
    const columnSums = (tile.block === 'cross' ? this.across.real : this.within[columnSide]).subarray(tile.firstColumn);
    const sums = new Float64Array(cols);
    for (let i = 0; i < rows; i += 1) {
      const own = alongRows[i] as number;
      const base = i * cols;
      let sum = 0;
      for (let j = isDiagonal ? i + 1 : 0; j < cols; j += 1) {
        const e = (data[base + j] as number) * share + own + (along[j] as number);
        const value = e * (e * (e + quadratic) + linear);
        scratch[base + j] = value;
        sum += value;
        sums[j] = (sums[j] as number) + value;
      }
      rowSums[tile.firstRow + i] = (rowSums[tile.firstRow + i] as number) + sum;
    }
    for (let j = 0; j < cols; j += 1) columnSums[j] = (columnSums[j] as number) + (sums[j] as number);
    return { rows, cols, data: scratch };
  }

  private keepSampled(kernel: Matrix, tile: PairTile, rowSide: Side, columnSide: Side, isDiagonal: boolean): void {
    const { sampled } = this;
    const offset = { fake: 0, real: this.sample.fake.length };
    const left = this.positions(rowSide, tile.firstRow, kernel.rows);
    const right = this.positions(columnSide, tile.firstColumn, kernel.cols);
    for (const [p, row] of left) {
      const base = (row - tile.firstRow) * kernel.cols - tile.firstColumn;
      for (const [q, column] of right) {
        const at = offset[rowSide] + p;
        const to = offset[columnSide] + q;
        if (isDiagonal && to <= at) continue;
        const value = kernel.data[base + column] as number;
        sampled.data[at * sampled.cols + to] = value;
        sampled.data[to * sampled.cols + at] = value;
      }
    }
  }

  /** Places in the sample and rows of the sampled rows within a tile. */
  private positions(side: Side, first: number, count: number): (readonly [number, number])[] {
    const all = this.sample[side];
    const start = lowerBound(all, first);
    return Array.from(inRange(all, first, count), (row, i) => [start + i, row] as const);
  }
}

function sumOfPairs(
  kernel: Matrix,
  tile: PairTile,
  isDiagonal: boolean,
  left: Uint32Array,
  right: Uint32Array,
): number {
  const { data } = kernel;
  const count = right.length;
  let sum = 0;
  for (let p = 0; p < left.length; p += 1) {
    const base = ((left[p] as number) - tile.firstRow) * kernel.cols - tile.firstColumn;
    let inner = 0;
    for (let q = isDiagonal ? p + 1 : 0; q < count; q += 1) inner += data[base + (right[q] as number)] as number;
    sum += inner;
  }
  return sum;
}

/** The ascending indices that lie in first … first + count − 1. */
function inRange(indices: Uint32Array | undefined, first: number, count: number): Uint32Array {
  const all = indices ?? new Uint32Array(0);
  return all.subarray(lowerBound(all, first), lowerBound(all, first + count));
}

function lowerBound(ascending: Uint32Array, value: number): number {
  let low = 0;
  let high = ascending.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((ascending[middle] as number) < value) low = middle + 1;
    else high = middle;
  }
  return low;
}
