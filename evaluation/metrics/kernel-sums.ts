import { type Matrix, zeroMatrix } from '../../models/linalg/matrix.js';
import type { Side } from './held-tiles.js';
import type { PairGeometry, PairTile } from './pairwise-pass.js';

/** Rows of each side that belong together; both lists are equally long. */
export interface KernelSubsets {
  readonly fake: readonly Uint32Array[];
  readonly real: readonly Uint32Array[];
}

/**
 * Sums of the cubic kernel (x·y/d + 1)³ over streamed tiles: of every row, of given subsets, and its values on chosen rows.
 *
 * Every value is taken minus a³, a = |c|²/d + 1, its value at the centre c: a constant falls out of every MMD, and with
 * e = x·y/d − |c|²/d the rest is e·(e·(e + 3a) + 3a²) without cancellation, however far from the origin the features are.
 */
export class KernelSums {
  /** Σ over the other rows of the same set, [n] and [m]. */
  readonly within: Record<Side, Float64Array>;
  /** Σ over all rows of the other set. */
  readonly across: Record<Side, Float64Array>;
  /** Σ over pairs i < j, or over all pairs of `cross`, of each subset. */
  readonly subsetSums: Record<PairTile['block'], Float64Array>;
  /** Of each fake row and its partner; empty without partners. */
  readonly partnered: Float64Array;
  /** Kernel of the sampled rows, fake ones first; diagonal 0. */
  readonly sampled: Matrix;
  private readonly subsets: Record<Side, readonly Uint32Array[]>;
  /** Subsets of each row. */
  private readonly memberships: Record<Side, readonly (readonly number[])[]>;
  private readonly sample: Record<Side, Uint32Array>;

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
    this.memberships = { fake: memberships(subsets.fake, fake.n), real: memberships(subsets.real, real.n) };
    this.sample = { fake: ascending(sample.fake), real: ascending(sample.real) };
    const sampled = sample.fake.length + sample.real.length;
    this.sampled = zeroMatrix(sampled, sampled);
  }

  /** Row by row, while a row is in the cache; of the diagonal tile only columns behind the row. */
  add(tile: PairTile): void {
    const { firstRow, firstColumn } = tile;
    const { rows, cols } = tile.products;
    const columnSide = tile.block === 'fake' ? 'fake' : 'real';
    const rowSide = tile.block === 'real' ? 'real' : 'fake';
    const isDiagonal = tile.block !== 'cross' && firstRow === firstColumn;
    const rowSums = tile.block === 'cross' ? this.across.fake : this.within[rowSide];
    const kernel = new KernelRows(tile, this.geometry, rowSide, columnSide);
    const members = this.subsets[columnSide].map((subset) => placesIn(subset, firstColumn, cols));
    const sampled = placesIn(this.sample[columnSide], firstColumn, cols);
    for (let i = 0; i < rows; i += 1) {
      const row = firstRow + i;
      const first = isDiagonal ? i + 1 : 0;
      rowSums[row] = (rowSums[row] as number) + kernel.compute(i, first);
      const sums = this.subsetSums[tile.block];
      for (const s of this.memberships[rowSide][row] ?? []) {
        sums[s] = (sums[s] as number) + sumAt(kernel.values, members[s] as Uint32Array, first);
      }
      if (tile.block === 'cross') this.keepPartnered(kernel.values, row, firstColumn);
      if (sampled.length > 0)
        this.keepSampled(kernel.values, { row, first, firstColumn }, rowSide, columnSide, sampled);
    }
    const columnSums = (tile.block === 'cross' ? this.across.real : this.within[columnSide]).subarray(firstColumn);
    for (let j = 0; j < cols; j += 1) columnSums[j] = (columnSums[j] as number) + (kernel.columnSums[j] as number);
  }

  private keepPartnered(values: Float64Array, row: number, firstColumn: number): void {
    const column = (this.partners[row] ?? -1) - firstColumn;
    if (column >= 0 && column < values.length) this.partnered[row] = values[column] as number;
  }

  /** Values of a sampled row at the sampled columns: their places in the tile, from `first` on. */
  private keepSampled(
    values: Float64Array,
    { row, first, firstColumn }: { row: number; first: number; firstColumn: number },
    rowSide: Side,
    columnSide: Side,
    columns: Uint32Array,
  ): void {
    const { sampled, sample } = this;
    const offset = { fake: 0, real: sample.fake.length };
    const p = lowerBound(sample[rowSide], row);
    if (sample[rowSide][p] !== row) return;
    const at = offset[rowSide] + p;
    const start = offset[columnSide] + lowerBound(sample[columnSide], firstColumn);
    for (let q = lowerBound(columns, first); q < columns.length; q += 1) {
      const value = values[columns[q] as number] as number;
      sampled.data[at * sampled.cols + start + q] = value;
      sampled.data[(start + q) * sampled.cols + at] = value;
    }
  }
}

/** The kernel on a tile, a row at a time. */
class KernelRows {
  /** Of the row that was computed last. */
  readonly values: Float64Array;
  /** Of all rows so far. */
  readonly columnSums: Float64Array;
  private readonly alongRows: Float64Array;
  private readonly alongColumns: Float64Array;
  private readonly a: number;

  constructor(
    private readonly tile: PairTile,
    private readonly geometry: PairGeometry,
    rowSide: Side,
    columnSide: Side,
  ) {
    const { d, centreSquare } = geometry;
    const { rows, cols } = tile.products;
    const alongOf = (side: Side, first: number, count: number): Float64Array =>
      geometry[side].alongCentre.subarray(first, first + count).map((value) => value / d);
    this.alongRows = alongOf(rowSide, tile.firstRow, rows);
    this.alongColumns = alongOf(columnSide, tile.firstColumn, cols);
    this.values = new Float64Array(cols);
    this.columnSums = new Float64Array(cols);
    this.a = centreSquare / d + 1;
  }

  /** Row i of the tile from column `first` on; its sum. */
  compute(i: number, first: number): number {
    const { values, columnSums, alongColumns, a } = this;
    const { cols, data } = this.tile.products;
    const [linear, quadratic, share] = [3 * a * a, 3 * a, 1 / this.geometry.d];
    const own = this.alongRows[i] as number;
    const base = i * cols;
    let sum = 0;
    for (let j = first; j < cols; j += 1) {
      const e = (data[base + j] as number) * share + own + (alongColumns[j] as number);
      const value = e * (e * (e + quadratic) + linear);
      values[j] = value;
      sum += value;
      columnSums[j] = (columnSums[j] as number) + value;
    }
    return sum;
  }
}

/** Of each of n rows the subsets that hold it. */
function memberships(subsets: readonly Uint32Array[], n: number): number[][] {
  const result: number[][] = Array.from({ length: n }, () => []);
  for (const [s, subset] of subsets.entries()) for (const row of subset) result[row]?.push(s);
  return result;
}

/** The ascending indices that lie in first … first + count − 1, from there. */
function placesIn(indices: Uint32Array, first: number, count: number): Uint32Array {
  return inRange(indices, first, count).map((index) => index - first);
}

/** Sum of the values at ascending places, from `first` on. */
function sumAt(values: Float64Array, places: Uint32Array, first: number): number {
  let sum = 0;
  for (let q = first === 0 ? 0 : lowerBound(places, first); q < places.length; q += 1) {
    sum += values[places[q] as number] as number;
  }
  return sum;
}

/** The ascending indices that lie in first … first + count − 1. */
function inRange(all: Uint32Array, first: number, count: number): Uint32Array {
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
