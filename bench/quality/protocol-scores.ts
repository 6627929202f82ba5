import { frechetDistance } from '../../evaluation/metrics/frechet-distance.js';
import type { Images } from '../../evaluation/metrics/image-pairs.js';
import { latentSqnrDb } from '../../evaluation/metrics/latent-sqnr.js';
import { psnrOfImages } from '../../evaluation/metrics/psnr.js';
import { quantile } from '../../evaluation/statistics/quantile.js';
import type { Float32Tensor } from '../../models/tensors/tensor.js';
import type { PlannedLayer } from '../../quantization/layer-plan.js';
import type { QualityRow } from './published-rows.js';

/** What is measured of a pipeline under a protocol. */
export interface ProtocolScores {
  /** Of each picture, in the protocol's order. */
  readonly psnrDb: readonly number[];
  readonly latentSqnrDb: number;
  readonly frechetToFloat: number;
  readonly frechetToReference: number;
  /** null where no quantized denoiser ran. */
  readonly denoiserRelativeMse: number | null;
}

/** Pictures of a pipeline with what they were made from and what the extractor sees in them. */
export interface SampledSide {
  readonly images: Images;
  /** Final latents [n, C, H, W]. */
  readonly latents: Float32Tensor;
  /** [n, d] */
  readonly features: Float32Tensor;
}

/** Scores of pictures against the float ones of the same prompts. `reference` are features of real pictures [m, d]. */
export function protocolScores(
  float: SampledSide,
  candidate: SampledSide,
  reference: Float32Tensor,
  denoiserRelativeMse: number | null,
): ProtocolScores {
  return {
    psnrDb: Array.from(psnrOfImages(float.images, candidate.images)),
    latentSqnrDb: latentSqnrDb(float.latents, candidate.latents),
    frechetToFloat: frechetDistance(candidate.features, float.features).value,
    frechetToReference: frechetDistance(candidate.features, reference).value,
    denoiserRelativeMse,
  };
}

/** A line of the table from scores: the mean of the pictures' PSNR and its 10th percentile. */
export function rowOf(
  label: string,
  scores: ProtocolScores,
  cost: Pick<QualityRow, 'macsAtFourBits' | 'minutes'> & Partial<Pick<QualityRow, 'floatBranchMacs'>>,
): QualityRow {
  const { psnrDb, ...rest } = scores;
  return {
    label,
    psnrDb: psnrDb.reduce((sum, value) => sum + value, 0) / psnrDb.length,
    psnrTenthPercentileDb: quantile(psnrDb, 0.1),
    ...rest,
    floatBranchMacs: null,
    ...cost,
  };
}

/** Bits that the protocol counts as covered. */
const LOW_BITS = 4;

/** Share of the multiply-adds of layers with weights whose weight and input have at most 4 bits, whatever the recipe asked. */
export function macsAtFourBits(layers: readonly PlannedLayer[]): number {
  const macs = (of: readonly PlannedLayer[]): number => of.reduce((sum, layer) => sum + layer.macs, 0);
  const weighted = layers.filter((layer) => layer.parameters > 0);
  const low = weighted.filter(
    ({ skipped, weight, inputs }) =>
      skipped === null &&
      weight !== null &&
      weight.scheme.bits <= LOW_BITS &&
      inputs.every(({ scheme }) => scheme.bits <= LOW_BITS),
  );
  const total = macs(weighted);
  return total === 0 ? 0 : macs(low) / total;
}

/** How far two sets of pictures of one size are apart, in levels. */
export function pictureDifference(
  a: Images,
  b: Images,
): { readonly largest: number; readonly differing: number; readonly values: number } {
  let largest = 0;
  let differing = 0;
  for (const [index, level] of a.data.entries()) {
    const difference = Math.abs(level - (b.data[index] as number));
    largest = Math.max(largest, difference);
    if (difference > 0) differing += 1;
  }
  return { largest, differing, values: a.data.length };
}
