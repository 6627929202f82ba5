import { covarianceObstacle } from '../statistics/covariance-size.js';
import { frechetOfRows, frechetValue } from './frechet-metric.js';
import type { SetMetric } from './set-metric.js';

/**
 * Spatial Fréchet distance (sFID; Nash et al. 2021): the Fréchet distance on a feature map that still has places, flattened, so
 * that it sees where things are and not only that they are there. The published sFID takes the first 7 channels of Inception's
 * mixed_6 map, 7 · 17 · 17 = 2023 numbers; here it is whatever the extractor declares as its output `spatial`, flattened
 * as its file does, and the name says which extractor. With fewer pictures than numbers the covariance has not full rank: a note says so.
 */
export const spatialFrechetDistance: SetMetric = {
  id: 'sfid',
  output: 'spatial',
  sides: 2,
  minimum: 2,
  obstacle: (fake, real, _, d) => covarianceObstacle(Math.max(fake, real), d),
  compute: async (fake, real, context) => [frechetValue('sfid', await frechetOfRows(fake, real, context))],
};
