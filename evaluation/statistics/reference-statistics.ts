import { NibbleflowError } from '../../contracts/errors.js';
import type { Matrix } from '../../models/linalg/matrix.js';
import { elementCount, type Tensor } from '../../models/tensors/tensor.js';
import { extractorLabel } from '../features/extractor-spec.js';
import type { FeatureSet } from '../features/feature-set.js';
import type { ResizeMode } from '../features/resize-modes.js';

/**
 * What a statistics file says about a set of pictures: mean and covariance of its features, and, in nibbleflow's own format,
 * where they come from and the rows themselves. The common tools' .npz has no protocol inside (npz-statistics.ts), the own
 * format does (statistics-format.ts).
 */
export interface ReferenceStatistics {
  /** Pictures behind the numbers; null when the file does not say. */
  readonly n: number | null;
  readonly pool: FeatureGaussian;
  /** Of a spatial feature map (sFID); null when the file has none. */
  readonly spatial: FeatureGaussian | null;
  /** null: the file does not say how it was made. */
  readonly provenance: StatisticsProvenance | null;
  /** Feature rows, when the file keeps them: then every metric of two sets can be computed. */
  readonly rows: FeatureSet | null;
  /** What a reader of scores must know. */
  readonly notes: readonly string[];
}

/** A Gaussian fitted to features: mean [d], covariance [d, d] with divisor n − 1, float64. */
export interface FeatureGaussian {
  readonly mean: Float64Array;
  readonly covariance: Matrix;
}

/** How features came to be: numbers of another extractor or another resize are other numbers. */
export interface FeatureOrigin {
  /** Name and whole sha256 of the extractor. */
  readonly extractor: { readonly name: string; readonly sha256: string };
  /** How pictures got the extractor's size. */
  readonly resize: ResizeMode;
  /** sha256 of all that decides features: the model, and what its description says of inputs and outputs under this resizing. */
  readonly protocol: string;
}

/** What nibbleflow's own files say about their origin. */
export interface StatisticsProvenance extends FeatureOrigin {
  /** sha256 of the sorted keys of the pictures. */
  readonly pictures: string;
  /** Version of nibbleflow that wrote the file. */
  readonly nibbleflow: string;
}

/** The note beside scores against a file that does not say how it was made. */
export const UNKNOWN_PROVENANCE =
  'provenance unknown: the statistics file says neither extractor, nor resize, nor number of pictures';

/**
 * Covariances are symmetric; those of other tools may have been rounded to float32 after sums in two orders. Larger
 * differences, relative to the largest variance, mean that the array is something else.
 */
const SYMMETRY_TOLERANCE = 1e-5;

/**
 * A Gaussian from the arrays of a file, float32 or float64, checked: [d] and [d, d], finite, symmetric, no negative variance.
 * @param names how the file calls the two, for messages
 * @throws NibbleflowError InvalidInput
 */
export function checkedGaussian(
  mean: Tensor,
  covariance: Tensor,
  names: readonly [mean: string, covariance: string],
  where?: string,
): FeatureGaussian {
  const [meanName, covarianceName] = names;
  const d = elementCount(mean.dims);
  if (mean.dims.length !== 1 || d < 1) {
    throw invalid(`${meanName} must be a vector, got dims [${mean.dims.join(', ')}]`, where);
  }
  if (covariance.dims.length !== 2 || covariance.dims[0] !== covariance.dims[1]) {
    throw invalid(`${covarianceName} must be square, got dims [${covariance.dims.join(', ')}]`, where);
  }
  if (covariance.dims[0] !== d) {
    throw invalid(`${meanName} has ${d} features and ${covarianceName} has ${covariance.dims[0]}`, where);
  }
  const gaussian = {
    mean: float64Data(mean, meanName, where),
    covariance: { rows: d, cols: d, data: float64Data(covariance, covarianceName, where) },
  };
  checkVariances(gaussian.covariance, covarianceName, where);
  return gaussian;
}

function checkVariances({ rows: d, data }: Matrix, name: string, where?: string): void {
  let largest = 0;
  for (let i = 0; i < d; i += 1) {
    const variance = data[i * d + i] as number;
    if (variance < 0) throw invalid(`${name} has the negative variance ${variance} at ${i}`, where);
    largest = Math.max(largest, variance);
  }
  for (let i = 0; i < d; i += 1) {
    for (let j = 0; j < i; j += 1) {
      const difference = Math.abs((data[i * d + j] as number) - (data[j * d + i] as number));
      if (difference > SYMMETRY_TOLERANCE * largest) {
        throw invalid(`${name} is no covariance: it is not symmetric at (${i}, ${j})`, where);
      }
    }
  }
}

function float64Data(value: Tensor, name: string, where?: string): Float64Array {
  if (value.type !== 'float32' && value.type !== 'float64') {
    throw invalid(`${name} must be float32 or float64, got ${value.type}`, where);
  }
  const data = Float64Array.from(value.data as Float32Array | Float64Array);
  if (!data.every(Number.isFinite)) throw invalid(`${name} holds numbers that are not finite`, where);
  return data;
}

/**
 * Throws InvalidInput when statistics were made by another extractor or with another resize than is asked for now, or do not
 * fit the extractor's features. Files of unknown provenance pass when the sizes fit.
 */
export function refuseOtherOrigin(
  statistics: Pick<ReferenceStatistics, 'pool' | 'provenance'>,
  wanted: FeatureOrigin & { readonly dimension: number },
  where?: string,
): void {
  const { provenance, pool } = statistics;
  if (provenance !== null) {
    const { extractor, resize, protocol } = provenance;
    if (extractor.sha256 !== wanted.extractor.sha256) {
      throw new NibbleflowError(
        'InvalidInput',
        `the statistics are of another extractor: ${extractorLabel(extractor)}, asked for is ${extractorLabel(wanted.extractor)}`,
        { where, fix: `Make them again with \`nibbleflow stats --extractor ${wanted.extractor.name}\`.` },
      );
    }
    if (resize !== wanted.resize) {
      throw new NibbleflowError(
        'InvalidInput',
        `the statistics were made with --resize ${resize}, asked for is ${wanted.resize}`,
        {
          where,
          fix: `Use --resize ${resize}, or make them again with \`nibbleflow stats --resize ${wanted.resize}\`.`,
        },
      );
    }
    if (protocol !== wanted.protocol) {
      throw new NibbleflowError(
        'InvalidInput',
        `the statistics were made with another description of ${extractorLabel(extractor)}: its input size, kernel, range or outputs differ`,
        { where, fix: 'Make them again with `nibbleflow stats`, or give the extractor.json that they were made with.' },
      );
    }
  }
  if (pool.mean.length !== wanted.dimension) {
    throw new NibbleflowError(
      'InvalidInput',
      `the statistics have ${pool.mean.length} features, ${extractorLabel(wanted.extractor)} makes ${wanted.dimension}`,
      { where, fix: 'Choose the extractor that made them with --extractor.' },
    );
  }
}

function invalid(what: string, where?: string): NibbleflowError {
  return new NibbleflowError('InvalidInput', `the statistics file cannot be used: ${what}`, { where });
}
