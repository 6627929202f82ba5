import { kernelInceptionDistance } from './kernel-inception-distance.js';
import { outOfDistributionRate } from './out-of-distribution-rate.js';
import { precisionRecall } from './precision-recall.js';
import type { SetMetric } from './set-metric.js';

/** Every metric of sets of features, by `id` in protocols and on the command line. Adding one is a file and a row. */
export const SET_METRICS: readonly SetMetric[] = [kernelInceptionDistance, precisionRecall, outOfDistributionRate];
