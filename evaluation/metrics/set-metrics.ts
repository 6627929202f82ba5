import { frechetMetric } from './frechet-metric.js';
import { inceptionScoreMetric } from './inception-score.js';
import { kernelInceptionDistance } from './kernel-inception-distance.js';
import { mongeInceptionDistance } from './monge-inception-distance.js';
import { outOfDistributionRate } from './out-of-distribution-rate.js';
import { precisionRecall } from './precision-recall.js';
import type { SetMetric } from './set-metric.js';
import { slicedWasserstein } from './sliced-wasserstein.js';
import { spatialFrechetDistance } from './spatial-frechet-distance.js';
import { visualDna } from './visual-dna.js';

/** Every metric of sets of features, by `id` in protocols and on the command line. Adding one is a file and a row. */
export const SET_METRICS: readonly SetMetric[] = [
  frechetMetric,
  spatialFrechetDistance,
  kernelInceptionDistance,
  inceptionScoreMetric,
  precisionRecall,
  mongeInceptionDistance,
  slicedWasserstein,
  visualDna,
  outOfDistributionRate,
];
