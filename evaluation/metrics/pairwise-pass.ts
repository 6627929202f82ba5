import { type Matrix, zeroMatrix } from '../../models/linalg/matrix.js';
import type { FeatureRows } from '../features/feature-set.js';
import { type StartedProduct, startedProduct } from '../linalg/matrix-products.js';
import type { MetricContext, MetricValue, SetMetric } from './set-metric.js';

/**
 * One pass over all pairs of rows of two sets, for every metric that looks at pairs: the inner products are what costs, so they
 * are computed once, a tile at a time, and every consumer reads them. Rows are centred on the mean of the real set:
 *   |x − y|² = |x′|² + |y′|² − 2·x′·y′,   x·y = x′·y′ + c·x′ + c·y′ + |c|²   (x′ = x − c)
 * so that features far from the origin lose no digits. float64; memory is a few tiles, whatever n is.
 */

/** Elements of one operand of a product, 32 MiB of float64: large enough that copying it costs little beside the product. */
const TILE_ELEMENTS = 2 ** 22;
/** Rows of a tile at most: its products are as large again. */
const TILE_ROWS = 2048;

/** What is known of each row before its products: [n] each. */
export interface SideGeometry {
  readonly n: number;
  /** |x′|² */
  readonly squares: Float64Array;
  /** c·x′ */
  readonly alongCentre: Float64Array;
}

export interface PairGeometry {
  readonly d: number;
  readonly fake: SideGeometry;
  readonly real: SideGeometry;
  /** |c|² */
  readonly centreSquare: number;
}

/** Inner products x′·y′ of rows firstRow … against columns firstColumn …; consumers must not change them. */
export interface PairTile {
  /**
   * `real` and `fake`: a set with itself, tiles on and above the diagonal only (symmetry gives the others). `cross`: rows are
   * the fake set's, columns the real set's.
   */
  readonly block: 'real' | 'fake' | 'cross';
  readonly firstRow: number;
  readonly firstColumn: number;
  readonly products: Matrix;
}

/** What a metric does with the tiles: all of `real`, then all of `fake`, then all of `cross`; then `finish`. */
export interface PairConsumer {
  add(tile: PairTile): void;
  finish(): Promise<readonly MetricValue[]>;
}

export type ConsumerFactory = (geometry: PairGeometry, context: MetricContext) => PairConsumer;

/** A metric that can share the pass with others. */
export interface PairwiseMetric extends SetMetric {
  readonly consumer: ConsumerFactory;
}

/** A metric made of a consumer; alone, it takes a pass of its own. */
export function pairwiseMetric(metric: Omit<PairwiseMetric, 'compute' | 'output' | 'sides'>): PairwiseMetric {
  return {
    ...metric,
    output: 'pool',
    sides: 2,
    compute: async (fake, real, context) => (await pairwisePass([metric.consumer], fake, real, context))[0] ?? [],
  };
}

export function isPairwise(metric: SetMetric): metric is PairwiseMetric {
  return 'consumer' in metric;
}

/** Values of every consumer, in their order, from one pass over the pairs of [n, d] and [m, d] rows, `step` rows a tile. */
export async function pairwisePass(
  factories: readonly ConsumerFactory[],
  fake: FeatureRows,
  real: FeatureRows,
  context: MetricContext,
  step: number = tileRows(real.d),
): Promise<(readonly MetricValue[])[]> {
  const centre = await meanRow(real, context);
  const geometry = {
    d: real.d,
    fake: await sideGeometry(fake, centre, context),
    real: await sideGeometry(real, centre, context),
    centreSquare: centre.reduce((sum, value) => sum + value * value, 0),
  };
  const consumers = factories.map((factory) => factory(geometry, context));
  for (const block of ['real', 'fake', 'cross'] as const) {
    const sides = { block, rows: block === 'real' ? real : fake, columns: block === 'fake' ? fake : real };
    await eachTile(sides, { centre, step, context }, async (tile) => {
      for (const consumer of consumers) {
        consumer.add(tile);
        await context.breathe();
      }
    });
  }
  const values: (readonly MetricValue[])[] = [];
  for (const consumer of consumers) values.push(await consumer.finish());
  return values;
}

/** Rows that are read at once. */
function tileRows(d: number): number {
  return Math.min(TILE_ROWS, Math.max(1, Math.floor(TILE_ELEMENTS / d)));
}

/** Tiles in one order; while a tile is added, the product of the next one is computed where products are. */
async function eachTile(
  { block, rows, columns }: { block: PairTile['block']; rows: FeatureRows; columns: FeatureRows },
  { centre, step, context }: { centre: Float64Array; step: number; context: MetricContext },
  add: (tile: PairTile) => Promise<void>,
): Promise<void> {
  let pending: (Omit<PairTile, 'products'> & StartedProduct) | undefined;
  const addPending = async (): Promise<void> => {
    if (pending === undefined) return;
    const { result, ...tile } = pending;
    await add({ ...tile, products: await result });
  };
  for (let firstRow = 0; firstRow < rows.n; firstRow += step) {
    const left = await centredRows(rows, firstRow, Math.min(rows.n, firstRow + step), centre);
    for (let firstColumn = block === 'cross' ? 0 : firstRow; firstColumn < columns.n; firstColumn += step) {
      const isDiagonal = block !== 'cross' && firstColumn === firstRow;
      const end = Math.min(columns.n, firstColumn + step);
      const right = isDiagonal ? left : await centredRows(columns, firstColumn, end, centre);
      const started = await startedProduct(context.products, left, right);
      await addPending();
      pending = { block, firstRow, firstColumn, ...started };
    }
  }
  await addPending();
}

/** Mean of all rows [d]: sums of tiles around the first row, so that a large offset costs no digits. */
async function meanRow(rows: FeatureRows, context: MetricContext): Promise<Float64Array> {
  const { n, d } = rows;
  const origin = Float64Array.from(await rows.read(0, 1));
  const sum = new Float64Array(d);
  const step = tileRows(d);
  for (let first = 0; first < n; first += step) {
    const data = await rows.read(first, Math.min(n, first + step));
    for (let i = 0; i < data.length; i += d) {
      for (let j = 0; j < d; j += 1) {
        sum[j] = (sum[j] as number) + ((data[i + j] as number) - (origin[j] as number));
      }
    }
    await context.breathe();
  }
  return origin.map((value, j) => value + (sum[j] as number) / n);
}

async function sideGeometry(rows: FeatureRows, centre: Float64Array, context: MetricContext): Promise<SideGeometry> {
  const { n, d } = rows;
  const squares = new Float64Array(n);
  const alongCentre = new Float64Array(n);
  const step = tileRows(d);
  for (let first = 0; first < n; first += step) {
    const { rows: count, data } = await centredRows(rows, first, Math.min(n, first + step), centre);
    for (let i = 0; i < count; i += 1) {
      let square = 0;
      let along = 0;
      for (let j = 0; j < d; j += 1) {
        const value = data[i * d + j] as number;
        square += value * value;
        along += value * (centre[j] as number);
      }
      squares[first + i] = square;
      alongCentre[first + i] = along;
    }
    await context.breathe();
  }
  return { n, squares, alongCentre };
}

async function centredRows(rows: FeatureRows, first: number, end: number, centre: Float64Array): Promise<Matrix> {
  const { d } = rows;
  const data = await rows.read(first, end);
  const result = zeroMatrix(end - first, d);
  const centred = result.data;
  for (let i = 0; i < data.length; i += d) {
    for (let j = 0; j < d; j += 1) centred[i + j] = (data[i + j] as number) - (centre[j] as number);
  }
  return result;
}
