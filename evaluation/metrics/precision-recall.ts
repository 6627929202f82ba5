import { wilsonInterval } from '../statistics/wilson-interval.js';
import { NeighbourDistances } from './neighbour-distances.js';
import {
  type PairConsumer,
  type PairGeometry,
  type PairTile,
  pairwiseMetric,
  type SideGeometry,
} from './pairwise-pass.js';
import type { MetricValue } from './set-metric.js';

/**
 * Precision and recall (Kynkäänniemi et al. 2019), density and coverage (Naeem et al. 2020). With r(x) the distance of x to its
 * k-th nearest neighbour in its own set, N real rows x and M fake rows y:
 *   precision = share of y with |x − y| < r(x) for some x      recall   = share of x with |x − y| < r(y) for some y
 *   density   = Σ_y #{x: |x − y| < r(x)} / (kM)                coverage = share of x with |x − y| < r(x) for some y
 * Strictly closer, as in the published code of density and coverage; distances that differ by rounding alone are equal. Of equal
 * distributions density is 1 and coverage 1 − Π_{i=1…k} (N − i)/(M + N − i). Distances of centred rows in float64, k-th
 * neighbours streamed. Intervals are over the rows that are averaged, the other set and the radii taken as given.
 */

/** Squared distances differ by rounding below this share of |x|² + |y|²: sums of thousands of float64 products. */
export const DISTANCE_TIE = 1e-12;

/** Squared distance of rows i and j of a tile, at least 0. */
export function squaredDistance(product: number, left: number, right: number): number {
  return Math.max(0, left + right - 2 * product);
}

/** Offers every distance of a tile of a set with itself to both of its rows. */
export function offerWithin(tile: PairTile, { squares }: SideGeometry, neighbours: NeighbourDistances): void {
  const { firstRow, firstColumn, products } = tile;
  const { rows, cols, data } = products;
  const { kth } = neighbours;
  for (let i = 0; i < rows; i += 1) {
    const row = firstRow + i;
    const own = squares[row] as number;
    for (let j = firstRow === firstColumn ? i + 1 : 0; j < cols; j += 1) {
      const column = firstColumn + j;
      const squared = squaredDistance(data[i * cols + j] as number, own, squares[column] as number);
      if (squared < (kth[row] as number)) neighbours.offer(row, squared);
      if (squared < (kth[column] as number)) neighbours.offer(column, squared);
    }
  }
}

class PrecisionRecall implements PairConsumer {
  private readonly fakeRadii: NeighbourDistances;
  private readonly realRadii: NeighbourDistances;
  /** Real balls that hold each fake row. */
  private readonly hits: Uint32Array;
  private readonly recalled: Uint8Array;
  private readonly covered: Uint8Array;

  constructor(
    private readonly geometry: PairGeometry,
    private readonly k: number,
  ) {
    const { fake, real } = geometry;
    this.fakeRadii = new NeighbourDistances(fake.n, k);
    this.realRadii = new NeighbourDistances(real.n, k);
    this.hits = new Uint32Array(fake.n);
    this.recalled = new Uint8Array(real.n);
    this.covered = new Uint8Array(real.n);
  }

  add(tile: PairTile): void {
    const { fake, real } = this.geometry;
    if (tile.block === 'cross') this.compare(tile);
    else
      offerWithin(tile, tile.block === 'fake' ? fake : real, tile.block === 'fake' ? this.fakeRadii : this.realRadii);
  }

  private compare({ firstRow, firstColumn, products }: PairTile): void {
    const { rows, cols, data } = products;
    const { recalled, covered } = this;
    const fakeSquares = this.geometry.fake.squares;
    const realSquares = this.geometry.real.squares.subarray(firstColumn, firstColumn + cols);
    const realRadii = this.realRadii.kth.subarray(firstColumn, firstColumn + cols);
    for (let i = 0; i < rows; i += 1) {
      const own = fakeSquares[firstRow + i] as number;
      const radius = this.fakeRadii.kth[firstRow + i] as number;
      let hits = 0;
      for (let j = 0; j < cols; j += 1) {
        const other = realSquares[j] as number;
        // what is nearer than this is strictly nearer
        const squared = squaredDistance(data[i * cols + j] as number, own, other) + DISTANCE_TIE * (own + other);
        if (squared < (realRadii[j] as number)) {
          hits += 1;
          covered[firstColumn + j] = 1;
        }
        if (squared < radius) recalled[firstColumn + j] = 1;
      }
      this.hits[firstRow + i] = (this.hits[firstRow + i] as number) + hits;
    }
  }

  async finish(): Promise<readonly MetricValue[]> {
    const { hits, recalled, covered, k } = this;
    const note = `${k} nearest neighbours`;
    const inside = hits.reduce((sum, count) => sum + (count > 0 ? 1 : 0), 0);
    return [
      {
        ...shareOf('precision', inside / hits.length, note),
        ...wilsonInterval(inside, hits.length),
        interval: 'wilson',
      },
      shareOf('recall', meanOf(recalled), note, BOTH_SIDES),
      shareOf('density', meanOf(hits) / k, note, BOTH_SIDES),
      shareOf('coverage', meanOf(covered), note, BOTH_SIDES),
    ];
  }
}

/** Intervals over the rows of one side, the other taken as given, hold 68 to 80 % of the truth in trials: none is better. */
const BOTH_SIDES = 'no interval: rows of both sides decide it';

function shareOf(metric: string, value: number, ...notes: string[]): MetricValue {
  return { metric, value, low: null, high: null, interval: null, better: 'higher', unit: '', notes };
}

function meanOf(values: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < values.length; i += 1) sum += values[i] as number;
  return sum / values.length;
}

/** `prdc`: four values from one pass. */
export const precisionRecall = pairwiseMetric({
  id: 'prdc',
  values: ['precision', 'recall', 'density', 'coverage'],
  minimum: 2,
  obstacle: (fake, real, { neighbours }) => tooFewNeighbours(Math.min(fake, real), neighbours),
  consumer: (geometry, context) => new PrecisionRecall(geometry, context.settings.neighbours),
});

/** Why k-th neighbours within a set of n rows cannot be had; null when they can. */
export function tooFewNeighbours(n: number, k: number): string | null {
  return n > k ? null : `${n} rows have no ${k} nearest neighbours each: give more pictures, or set neighbours lower`;
}
