import type { Matrix } from '../../models/linalg/matrix.js';
import type { FeatureRows } from '../features/feature-set.js';
import { heldMatrices, scoped } from '../linalg/held-matrices.js';
import { HeldTiles } from './held-tiles.js';
import type { MetricContext, MetricValue, SetMetric } from './set-metric.js';

/**
 * One pass over all pairs of rows of two sets, for every metric that looks at pairs: the inner products are what costs, so they
 * are computed once, a tile at a time, and every consumer reads them. Rows are centred on the mean of the real set:
 *   |x − y|² = |x′|² + |y′|² − 2·x′·y′,   x·y = x′·y′ + c·x′ + c·y′ + |c|²   (x′ = x − c)
 * so that features far from the origin lose no digits. float64; memory is a few tiles, whatever n is.
 */

/** Elements of a tile of rows, 16 MiB of float64. */
const TILE_ELEMENTS = 2 ** 21;
/** Rows of a tile at most: tiles on the diagonal are computed whole, so smaller ones save more; their products stay in the cache. */
const TILE_ROWS = 1024;
/** Products that are on their way while a tile is added: where they are computed there is always another one to begin. */
const AHEAD = 2;

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
  await scoped(heldMatrices(context.products), async (held) => {
    const tiles = new HeldTiles({ fake, real }, { centre, step }, held);
    for (const block of ['real', 'fake', 'cross'] as const) {
      await eachTile(block, tiles, async (tile) => {
        for (const consumer of consumers) {
          consumer.add(tile);
          await context.breathe();
        }
      });
    }
  });
  const values: (readonly MetricValue[])[] = [];
  for (const consumer of consumers) values.push(await consumer.finish());
  return values;
}

/** Rows that are read at once. */
function tileRows(d: number): number {
  return Math.min(TILE_ROWS, Math.max(1, Math.floor(TILE_ELEMENTS / d)));
}

/** Tiles in one order; while a tile is added, the products of the next ones are computed where products are. */
async function eachTile(
  block: PairTile['block'],
  tiles: HeldTiles,
  add: (tile: PairTile) => Promise<void>,
): Promise<void> {
  const [rowSide, columnSide] = block === 'cross' ? (['fake', 'real'] as const) : [block, block];
  const pending: (Omit<PairTile, 'products'> & { readonly result: Promise<Matrix> })[] = [];
  const addFirst = async (): Promise<void> => {
    const begun = pending.shift();
    if (begun === undefined) return;
    const { result, ...tile } = begun;
    await add({ ...tile, products: await result });
  };
  for (const firstRow of tiles.starts(rowSide)) {
    for (const firstColumn of tiles.starts(columnSide)) {
      if (block !== 'cross' && firstColumn < firstRow) continue;
      const begun = await tiles.begin(rowSide, firstRow, columnSide, firstColumn);
      pending.push({ block, firstRow, firstColumn, ...begun });
      if (pending.length > AHEAD) await addFirst();
    }
  }
  while (pending.length > 0) await addFirst();
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
    const data = await rows.read(first, Math.min(n, first + step));
    for (let at = 0, row = first; at < data.length; at += d, row += 1) {
      let square = 0;
      let along = 0;
      for (let j = 0; j < d; j += 1) {
        const value = (data[at + j] as number) - (centre[j] as number);
        square += value * value;
        along += value * (centre[j] as number);
      }
      squares[row] = square;
      alongCentre[row] = along;
    }
    await context.breathe();
  }
  return { n, squares, alongCentre };
}
