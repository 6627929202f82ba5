import type { SetMetric } from './set-metric.js';
import { seededSlicedSquares, slicedValue } from './sliced-wasserstein.js';

/**
 * Monge inception distance (arXiv 2605.06797): MIND = 3d · SW², the mean over random unit directions of the squared 1-d Wasserstein
 * distance, times 3d. Two Gaussians that differ by a shift μ have W₂² = (θ·μ)² along θ, |μ|²/d on average: MIND = 3·|μ|². No
 * covariance and no matrix root, so that it works at small n, where it is biased upwards like every distance of samples.
 */
const FACTOR = 3;

/** `mind`, in squared units of the features, as Fréchet distances are. */
export const mongeInceptionDistance: SetMetric = {
  id: 'mind',
  output: 'pool',
  sides: 2,
  minimum: 2,
  compute: async (fake, real, context) => {
    const sliced = await seededSlicedSquares(fake, real, context);
    return [slicedValue('mind', sliced, (square) => FACTOR * real.d * square, context.settings.projections)];
  },
};
