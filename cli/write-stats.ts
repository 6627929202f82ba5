import { createHash } from 'node:crypto';
import { accessSync, constants, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { featureOrigin } from '../activities/feature-protocol.js';
import { packageVersion } from '../activities/package-file.js';
import { checkStatisticsExtension, writeStatisticsFile } from '../activities/statistics-file.js';
import { type ExitCode, NibbleflowError } from '../contracts/errors.js';
import { FEWEST_FOR_DISTANCES } from '../contracts/protocol.js';
import type { FeatureRows } from '../evaluation/features/feature-set.js';
import { executorProducts } from '../evaluation/linalg/executor-products.js';
import { covarianceObstacle } from '../evaluation/statistics/covariance-size.js';
import { gaussianMomentsOf } from '../evaluation/statistics/gaussian-moments-of.js';
import type { FeatureGaussian } from '../evaluation/statistics/reference-statistics.js';
import type { StatsOptions } from './commands/stats.js';
import { say } from './console-output.js';
import { breatheUntil, checkPictureWork, featuresOf, openPictures, withEngine } from './measure-pictures.js';
import { untilInterrupted } from './until-interrupted.js';

/** `nibbleflow stats`: everything is checked before any work, and the file is written whole or not at all. */
export function writeStats(folder: string, out: string, options: StatsOptions): Promise<ExitCode> {
  return untilInterrupted(async (signal) => {
    const path = checkOutFile(out, options.features === true);
    const work = await checkPictureWork(options, signal);
    const { extractor, resize, protocol } = featureOrigin(work.extractor, work.resize);
    const images = await openPictures(resolve(folder), FEWEST_FOR_DISTANCES, signal);
    await withEngine(work, async (executor) => {
      const features = await featuresOf(images, executor, work);
      const products = executorProducts(executor);
      const { pool, spatial } = features;
      const wide = covarianceObstacle(Number.POSITIVE_INFINITY, pool.d);
      if (wide !== null) throw new NibbleflowError('InvalidInput', wide, { where: extractor.name });
      const tooWide = spatial === undefined ? null : covarianceObstacle(Number.POSITIVE_INFINITY, spatial.d);
      if (tooWide !== null) say(`note: no spatial statistics: ${tooWide}`);
      const gaussian = async (rows: FeatureRows): Promise<FeatureGaussian> => {
        const moments = await gaussianMomentsOf(rows, products, breatheUntil(signal));
        return { mean: moments.mean(), covariance: moments.covariance() };
      };
      await writeStatisticsFile(path, {
        n: images.n,
        pool: await gaussian(pool),
        spatial: spatial === undefined || tooWide !== null ? null : await gaussian(spatial),
        provenance: {
          ...{ extractor, resize, protocol },
          pictures: digestOfKeys(features.keys),
          nibbleflow: packageVersion(),
        },
        rows: options.features === true ? features : null,
        notes: images.notes,
      });
      await products.release();
    });
    for (const note of images.notes) say(`note: ${note}`);
    say(`wrote ${path}: ${images.n} pictures`);
    return 0;
  });
}

function digestOfKeys(keys: readonly string[]): string {
  return createHash('sha256').update(keys.join('\n')).digest('hex');
}

/** The absolute path of the file to write. Throws InvalidInput or OutputNotWritable. */
function checkOutFile(out: string, features: boolean): string {
  const path = resolve(out);
  if (checkStatisticsExtension(path) === '.npz' && features) {
    throw new NibbleflowError('InvalidInput', 'an .npz has no place for features', {
      where: '--features',
      fix: 'Name the file .safetensors.',
    });
  }
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory()) throw notWritable(path, 'it is a folder');
  const folder = dirname(path);
  try {
    accessSync(folder, constants.W_OK | constants.X_OK);
  } catch (error) {
    throw notWritable(path, `${folder} does not exist or may not be written`, error);
  }
  return path;
}

function notWritable(path: string, why: string, cause?: unknown): NibbleflowError {
  return new NibbleflowError('OutputNotWritable', `the statistics file cannot be written: ${why}`, {
    where: path,
    cause,
  });
}
