import { type Matrix, zeroMatrix } from '../../models/linalg/matrix.js';
import { gaussianTensor } from '../../models/tensors/random.js';
import type { FeatureRows } from '../features/feature-set.js';
import { groupJackknife } from '../statistics/group-jackknife.js';
import { JACKKNIFE_GROUPS as GROUPS, jackknifeGroups } from '../statistics/jackknife-groups.js';
import type { MetricContext, MetricValue, SetMetric } from './set-metric.js';

/**
 * Sliced Wasserstein distance, p = 2 (Bonneel et al. 2015): with unit directions θ₁ … θ_M,
 *   SW² = 1/M · Σ_m W₂²(θ_m·x, θ_m·y),   W₂² = ∫₀¹ (F⁻¹(u) − G⁻¹(u))² du,
 * which for equal n is the mean squared difference of the sorted projections; unequal n walk along both quantile functions.
 * Projections come in blocks of directions, so that neither the rows nor their projections are ever all in memory.
 */
export interface SlicedSquares {
  /** W₂² of every direction [M]. */
  readonly squares: Float64Array;
  /** Mean over directions without group g of both sets [G]; null with less than two rows a group. */
  readonly withoutGroup: Float64Array | null;
}

/** Projections in memory of one set, 64 MiB of float64. */
const BLOCK_ELEMENTS = 2 ** 23;
/** Elements of an operand of a product, 32 MiB. */
const TILE_ELEMENTS = 2 ** 22;
/** First stream of the directions; other users of the seed count from 0. */
const FIRST_STREAM = 2 ** 41;

/** Directions first … end − 1 of a seed, uniform on the unit sphere of d dimensions: [end − first, d]. */
export function unitDirections(seed: number, first: number, end: number, d: number): Matrix {
  const result = zeroMatrix(end - first, d);
  for (let m = first; m < end; m += 1) {
    const { data } = gaussianTensor(seed, FIRST_STREAM + m, [d]);
    const length = Math.sqrt(data.reduce((sum, value) => sum + value * value, 0));
    result.data.set(
      Float64Array.from(data, (value) => value / length),
      (m - first) * d,
    );
  }
  return result;
}

/** W₂² along `count` directions; `directions(first, end)` gives them as [end − first, d]. */
export async function slicedSquares(
  fake: FeatureRows,
  real: FeatureRows,
  count: number,
  directions: (first: number, end: number) => Matrix,
  context: Pick<MetricContext, 'products' | 'breathe' | 'partners'>,
): Promise<SlicedSquares> {
  const squares = new Float64Array(count);
  const hasGroups = Math.min(fake.n, real.n) >= 2 * GROUPS;
  const sums = new Float64Array(GROUPS);
  const groups = jackknifeGroups(fake.n, real.n, context.partners);
  const block = Math.max(1, Math.min(count, Math.floor(BLOCK_ELEMENTS / Math.max(fake.n, real.n))));
  for (let first = 0; first < count; first += block) {
    const along = directions(first, Math.min(count, first + block));
    const left = await projections(fake, along, context);
    const right = await projections(real, along, context);
    for (let m = 0; m < along.rows; m += 1) {
      const [x, y] = [sortedProjection(left, m, groups.fake), sortedProjection(right, m, groups.real)];
      squares[first + m] = squaredDistanceOfSorted(x.values, y.values);
      for (let g = 0; hasGroups && g < GROUPS; g += 1) {
        sums[g] = (sums[g] as number) + squaredDistanceOfSorted(x.without(g), y.without(g));
      }
      await context.breathe();
    }
  }
  return { squares, withoutGroup: hasGroups ? sums.map((sum) => sum / count) : null };
}

/** Projections [directions, n] of all rows, in tiles. */
async function projections(
  rows: FeatureRows,
  along: Matrix,
  { products, breathe }: Pick<MetricContext, 'products' | 'breathe'>,
): Promise<Matrix> {
  const result = zeroMatrix(along.rows, rows.n);
  const step = Math.max(1, Math.floor(TILE_ELEMENTS / rows.d));
  for (let first = 0; first < rows.n; first += step) {
    const end = Math.min(rows.n, first + step);
    const data = Float64Array.from(await rows.read(first, end));
    const tile = await products.timesTransposed(along, { rows: end - first, cols: rows.d, data });
    for (let m = 0; m < along.rows; m += 1) {
      result.data.set(tile.data.subarray(m * tile.cols, (m + 1) * tile.cols), m * rows.n + first);
    }
    await breathe();
  }
  return result;
}

interface Sorted {
  readonly values: Float64Array;
  /** The values without those of rows of group g, valid until the next call. */
  without(g: number): Float64Array;
}

/** The lowest bits of a float64 carry the row's group through the sort: 2⁻⁴⁸ of each value is cut off for that. */
const TAG_BITS = 0xf;

/** Sorts one projection, knowing each value's group afterwards. */
function sortedProjection(all: Matrix, m: number, groupOf: Uint8Array): Sorted {
  const values = all.data.slice(m * all.cols, (m + 1) * all.cols);
  const low = new Uint32Array(values.buffer);
  for (let i = 0; i < values.length; i += 1)
    low[LOW_WORD + 2 * i] = withTag(low[LOW_WORD + 2 * i] as number, groupOf[i] as number);
  values.sort();
  const groups = Uint8Array.from(values, (_, i) => (low[LOW_WORD + 2 * i] as number) & TAG_BITS);
  for (let i = 0; i < values.length; i += 1) low[LOW_WORD + 2 * i] = withTag(low[LOW_WORD + 2 * i] as number, 0);
  const kept = new Float64Array(values.length);
  const without = (g: number): Float64Array => {
    let count = 0;
    for (let i = 0; i < values.length; i += 1) {
      if (groups[i] === g) continue;
      kept[count] = values[i] as number;
      count += 1;
    }
    return kept.subarray(0, count);
  };
  return { values, without };
}

/** Which of a float64's two words has its lowest bits on this machine. */
const LOW_WORD = new Uint8Array(Uint32Array.of(1).buffer)[0] === 1 ? 0 : 1;

function withTag(word: number, tag: number): number {
  return ((word & ~TAG_BITS) | tag) >>> 0;
}

/** W₂² of two ascending samples: ∫ of the squared difference of their quantile functions. */
export function squaredDistanceOfSorted(x: Float64Array, y: Float64Array): number {
  const n = x.length;
  const m = y.length;
  let sum = 0;
  if (n === m) {
    for (let i = 0; i < n; i += 1) sum += ((x[i] as number) - (y[i] as number)) ** 2;
    return sum / n;
  }
  // places in units of 1/(nm): row i of x covers i·m … (i + 1)·m, row j of y covers j·n … (j + 1)·n
  let at = 0;
  for (let i = 0, j = 0; i < n && j < m; ) {
    const next = Math.min((i + 1) * m, (j + 1) * n);
    sum += (next - at) * ((x[i] as number) - (y[j] as number)) ** 2;
    at = next;
    if (next === (i + 1) * m) i += 1;
    if (next === (j + 1) * n) j += 1;
  }
  return sum / (n * m);
}

/** SW² along the directions of the settings' seed; `directionError` is its standard error over the choice of directions. */
export async function seededSlicedSquares(
  fake: FeatureRows,
  real: FeatureRows,
  context: MetricContext,
): Promise<{ readonly mean: number; readonly withoutGroup: Float64Array | null; readonly directionError: number }> {
  const { seed, projections: count } = context.settings;
  const directions = (first: number, end: number) => unitDirections(seed, first, end, real.d);
  const { squares, withoutGroup } = await slicedSquares(fake, real, count, directions, context);
  const mean = squares.reduce((a, b) => a + b, 0) / count;
  const spread = squares.reduce((a, b) => a + (b - mean) ** 2, 0);
  return { mean, withoutGroup, directionError: count < 2 ? 0 : Math.sqrt(spread / (count * (count - 1))) };
}

/** A distance `of` SW² as a value, with the jackknife's interval and what the choice of directions adds. */
export function slicedValue(
  metric: string,
  { mean, withoutGroup, directionError }: Awaited<ReturnType<typeof seededSlicedSquares>>,
  of: (meanSquare: number) => number,
  directions: number,
): MetricValue {
  const value = of(mean);
  const jackknife = withoutGroup === null ? null : groupJackknife(value, withoutGroup.map(of));
  const others = Math.abs(of(mean + directionError) - value);
  return {
    metric,
    value,
    low: jackknife === null ? null : Math.max(0, jackknife.low),
    high: jackknife?.high ?? null,
    interval: jackknife === null ? null : 'jackknife',
    better: 'lower',
    unit: '',
    notes: [`${directions} directions; other ones would move it by about ${others.toPrecision(2)}`],
  };
}

/** `sliced-wasserstein`: SW, in units of the features. */
export const slicedWasserstein: SetMetric = {
  id: 'sliced-wasserstein',
  output: 'pool',
  sides: 2,
  minimum: 2,
  compute: async (fake, real, context) => {
    const sliced = await seededSlicedSquares(fake, real, context);
    return [slicedValue('sliced-wasserstein', sliced, Math.sqrt, context.settings.projections)];
  },
};
