import { NibbleflowError } from '../../contracts/errors.js';
import type { Breathe } from '../../models/linalg/breathe.js';
import { type Matrix, zeroMatrix } from '../../models/linalg/matrix.js';
import type { FeatureRows } from '../features/feature-set.js';
import { type HeldMatrices, type HeldMatrix, heldMatrices, scoped } from '../linalg/held-matrices.js';
import type { MatrixProducts } from '../linalg/matrix-products.js';
import { columnMeans, GaussianMoments } from './gaussian-moments.js';

/**
 * Mean and covariance of features that are read a batch at a time. Batch k holds rows 2048·k … whatever files or shards the rows
 * lie in, and batches are joined in order, so the result depends on the rows and nothing else, to the bit. A batch is centred on
 * its own mean before its scatter is computed: features far from zero lose no digits. Batches are joined as GaussianMoments joins
 * them, where products are computed: scatter ← scatter + CᵀC + δδᵀ·nₐn_b/(nₐ+n_b) with C the centred rows.
 * Memory: two batches and four [d, d].
 */
export const BATCH_ROWS = 2048;

/** Mean [d] and scatter Σ(x−m)(x−m)ᵀ [d, d] of n rows. */
export interface HeldMoments {
  readonly n: number;
  readonly mean: Float64Array;
  readonly scatter: HeldMatrix;
}

/** @throws NibbleflowError InvalidInput for features that are not finite */
export async function gaussianMomentsOf(
  rows: FeatureRows,
  products: MatrixProducts,
  breathe: Breathe,
): Promise<GaussianMoments> {
  const moments = new GaussianMoments(rows.d);
  if (rows.n === 0) return moments;
  await scoped(heldMatrices(products), async (own) => {
    const { n, mean, scatter } = await heldMoments(rows, own, breathe);
    moments.addScatter(n, mean, symmetric(await own.read(scatter)).data);
  });
  return moments;
}

/** Of one row or more. @throws NibbleflowError InvalidInput for features that are not finite */
export async function heldMoments(rows: FeatureRows, held: HeldMatrices, breathe: Breathe): Promise<HeldMoments> {
  const mean = new Float64Array(rows.d);
  let scatter = await held.hold(zeroMatrix(rows.d, rows.d));
  for (let first = 0; first < rows.n; first += BATCH_ROWS) {
    const end = Math.min(rows.n, first + BATCH_ROWS);
    const data = await rows.read(first, end);
    refuseNonFinite(data, rows.d, first);
    const batchMean = columnMeans(data, end - first, rows.d);
    await breathe();
    const delta = batchMean.map((value, j) => value - (mean[j] as number));
    const last = scatter;
    const weight = Math.sqrt((first * (end - first)) / end);
    const between = delta.map((value) => value * weight);
    scatter = await held.addedScatter(last, data, batchMean, between);
    await held.free(last);
    for (let j = 0; j < rows.d; j += 1) mean[j] = (mean[j] as number) + ((delta[j] as number) * (end - first)) / end;
    await breathe();
  }
  return { n: rows.n, mean, scatter };
}

/** The lower triangle over the upper one: blocks of it were computed whole. */
function symmetric(of: Matrix): Matrix {
  for (let i = 0; i < of.rows; i += 1) {
    for (let j = 0; j < i; j += 1) of.data[j * of.cols + i] = of.data[i * of.cols + j] as number;
  }
  return of;
}

/** @throws NibbleflowError InvalidInput with the row of the first feature that is no number */
export function refuseNonFinite(data: Float32Array, d: number, firstRow: number): void {
  let broken = 0;
  while (broken < data.length && Number.isFinite(data[broken])) broken += 1;
  if (broken === data.length) return;
  const row = firstRow + Math.floor(broken / d);
  throw new NibbleflowError(
    'InvalidInput',
    `features hold numbers that are not finite: ${data[broken]} in row ${row}, feature ${broken % d}`,
    { fix: 'Look at what the extractor says about that picture.' },
  );
}
