import { NibbleflowError } from '../../contracts/errors.js';
import type { Breathe } from '../../models/linalg/breathe.js';
import { type Matrix, zeroMatrix } from '../../models/linalg/matrix.js';
import type { FeatureRows } from '../features/feature-set.js';
import type { MatrixProducts } from '../linalg/matrix-products.js';
import { columnMeans, GaussianMoments } from './gaussian-moments.js';

/**
 * Mean and covariance of features that are read a batch at a time. Batch k holds rows 2048·k … whatever files or shards the rows
 * lie in, and batches are joined in order, so the result depends on the rows and nothing else, to the bit. A batch is centred on
 * its own mean before its scatter is computed: features far from zero lose no digits. Memory: two batches and three [d, d].
 */
export const BATCH_ROWS = 2048;

/** @throws NibbleflowError InvalidInput for features that are not finite */
export async function gaussianMomentsOf(
  rows: FeatureRows,
  products: MatrixProducts,
  breathe: Breathe,
): Promise<GaussianMoments> {
  const moments = new GaussianMoments(rows.d);
  for (let first = 0; first < rows.n; first += BATCH_ROWS) {
    const end = Math.min(rows.n, first + BATCH_ROWS);
    const data = await rows.read(first, end);
    refuseNonFinite(data, rows.d, first);
    const mean = columnMeans(data, end - first, rows.d);
    const centred = centredColumns(data, mean);
    await breathe();
    const scatter = await products.timesTransposed(centred, centred);
    moments.addScatter(end - first, mean, scatter.data);
    await breathe();
  }
  return moments;
}

/** The transposed batch [d, rows], every column's mean taken out; written in blocks that stay in the cache. */
function centredColumns(data: Float32Array, mean: Float64Array): Matrix {
  const d = mean.length;
  const n = data.length / d;
  const result = zeroMatrix(d, n);
  for (let firstColumn = 0; firstColumn < d; firstColumn += BLOCK) {
    for (let firstRow = 0; firstRow < n; firstRow += BLOCK) {
      const endRow = Math.min(n, firstRow + BLOCK);
      for (let j = firstColumn; j < Math.min(d, firstColumn + BLOCK); j += 1) {
        const centre = mean[j] as number;
        for (let i = firstRow; i < endRow; i += 1) result.data[j * n + i] = (data[i * d + j] as number) - centre;
      }
    }
  }
  return result;
}

const BLOCK = 32;

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
