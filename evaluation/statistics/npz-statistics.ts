import { NibbleflowError } from '../../contracts/errors.js';
import type { ByteSource } from '../../models/archives/byte-source.js';
import { npzFromTensors, openNpz } from '../../models/tensors/npz.js';
import { type Tensor, tensor } from '../../models/tensors/tensor.js';
import {
  checkedGaussian,
  type FeatureGaussian,
  type ReferenceStatistics,
  UNKNOWN_PROVENANCE,
} from './reference-statistics.js';

/**
 * Statistics as the common tools keep them: an .npz with `mu` [d] and `sigma` [d, d]
 * (https://github.com/mseitzer/pytorch-fid, https://github.com/GaParmar/clean-fid), and `mu_s`, `sigma_s` of the spatial
 * features (https://github.com/openai/guided-diffusion/tree/main/evaluations). They say nothing about where they come from.
 */
const POOL = ['mu', 'sigma'] as const;
const SPATIAL = ['mu_s', 'sigma_s'] as const;

/**
 * Reads mean and covariance; other arrays of the file, such as the pictures themselves, are not read.
 * @throws NibbleflowError InvalidInput for files without them, or whose arrays are no mean and covariance
 */
export async function readNpzStatistics(source: ByteSource, where?: string): Promise<ReferenceStatistics> {
  const arrays = await openNpz(source, where);
  const read = async (names: readonly [string, string]): Promise<FeatureGaussian> =>
    checkedGaussian(await arrays.read(names[0]), await arrays.read(names[1]), names, where);
  for (const name of POOL) {
    if (arrays.names.includes(name)) continue;
    throw new NibbleflowError('InvalidInput', `the file has no array "${name}", it has: ${arrays.names.join(', ')}`, {
      where,
      fix: 'Statistics are a mean `mu` and a covariance `sigma`, as pytorch-fid and clean-fid write them.',
    });
  }
  const pool = await read(POOL);
  const spatial = SPATIAL.every((name) => arrays.names.includes(name)) ? await read(SPATIAL) : null;
  return { n: null, pool, spatial, provenance: null, rows: null, notes: [UNKNOWN_PROVENANCE] };
}

/** The bytes of an .npz that the common tools read, float64. Provenance and rows have no place in it. */
export function npzOfStatistics({ pool, spatial }: Pick<ReferenceStatistics, 'pool' | 'spatial'>): Uint8Array {
  const arrays = new Map<string, Tensor>();
  const add = ([meanName, covarianceName]: readonly [string, string], { mean, covariance }: FeatureGaussian): void => {
    arrays.set(meanName, tensor('float64', [mean.length], mean));
    arrays.set(covarianceName, tensor('float64', [covariance.rows, covariance.cols], covariance.data));
  };
  add(POOL, pool);
  if (spatial !== null) add(SPATIAL, spatial);
  return npzFromTensors(arrays);
}
