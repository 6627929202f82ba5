import { float32 } from '../../models/tensors/tensor.js';
import type { FeatureRows } from '../features/feature-set.js';
import { GaussianMoments } from './gaussian-moments.js';
import type { FeatureGaussian } from './reference-statistics.js';

/** Numbers of a tile of rows: 4 MiB of float32. */
const TILE_ELEMENTS = 2 ** 20;

/** Mean and covariance of rows that need not fit in memory; tiles are cut by the sizes alone. */
export async function gaussianOfRows(rows: FeatureRows, breathe: () => Promise<void>): Promise<FeatureGaussian> {
  const moments = new GaussianMoments(rows.d);
  const step = Math.max(1, Math.floor(TILE_ELEMENTS / rows.d));
  for (let first = 0; first < rows.n; first += step) {
    const end = Math.min(rows.n, first + step);
    moments.add(float32([end - first, rows.d], await rows.read(first, end)));
    await breathe();
  }
  return { mean: moments.mean(), covariance: moments.covariance() };
}
