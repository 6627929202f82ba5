/** Public entry point `nibbleflow/evaluation`: features, metrics, statistics and reports. */
export { extractFeatures, type FeatureExtraction, type Features } from './features/extract-features.js';
export {
  type Extractor,
  type ExtractorSpec,
  extractorLabel,
  extractorSpecSchema,
  parseExtractorSpec,
} from './features/extractor-spec.js';
export { canonicalOrder, type FeatureRows, type FeatureSet, rowsInMemory } from './features/feature-set.js';
export { withLayerOutputs } from './features/layer-outputs.js';
export { partnerRows } from './features/partner-rows.js';
export { type PictureSource, selectedPictures } from './features/picture-source.js';
export { resizeImages } from './features/resize.js';
export { resizeToFloat } from './features/resize-float.js';
export { type LevelKernel, RESIZE_KERNEL_NAMES, type ResizeKernel } from './features/resize-kernels.js';
export type { ResizeMode } from './features/resize-modes.js';
export { type ExecutorProducts, executorProducts } from './linalg/executor-products.js';
export { type MatrixProducts, plainProducts } from './linalg/matrix-products.js';
export { clipScore, clipScores } from './metrics/clip-score.js';
export { ErrorEnergy } from './metrics/error-energy.js';
export {
  type FrechetDistance,
  frechetDistance,
  frechetDistanceOfMoments,
} from './metrics/frechet-distance.js';
export { type FrechetEstimate, frechetMetric, frechetOfRows, frechetOfStatistics } from './metrics/frechet-metric.js';
export { frechetLabel, frechetName } from './metrics/frechet-name.js';
export type { Images } from './metrics/image-pairs.js';
export { latentSqnrDb, SQNR_CAP_DB, sqnrDbOf } from './metrics/latent-sqnr.js';
export { type LayerPair, type LpipsOptions, lpipsName, lpipsOfImages, lpipsOfLayers } from './metrics/lpips.js';
export { inCanonicalOrder, type PairedImageScores, pairedImageScores } from './metrics/paired-image-scores.js';
export { mseOfImages, PSNR_CAP_DB, psnrOfImages } from './metrics/psnr.js';
export { relativeMse, relativeMseOf } from './metrics/relative-mse.js';
export type { FeatureOutput, MetricContext, MetricValue, SetMetric } from './metrics/set-metric.js';
export { SET_METRICS } from './metrics/set-metrics.js';
export { type SsimName, ssimOfImages } from './metrics/ssim.js';
export { type ModelCardExtras, renderModelCard } from './report/model-card.js';
export { renderReport } from './report/render-report.js';
export type * from './report/report-data.js';
export { composeGrid, type Grid, type GridOptions } from './report/sample-grid.js';
export { scoreTable } from './report/score-table.js';
export { type SetScoreRequest, scoreSets } from './score-sets.js';
export { type ActivationDna, activationDrift, mergeActivationDna } from './statistics/activation-dna.js';
export { type BootstrapInterval, bootstrapInterval } from './statistics/bootstrap.js';
export { GaussianMoments } from './statistics/gaussian-moments.js';
export { gaussianMomentsOf } from './statistics/gaussian-moments-of.js';
export { type MeanInterval, meanInterval, pairedInterval } from './statistics/paired-interval.js';
export { type PermutationTest, permutationTest } from './statistics/permutation-test.js';
export { quantile } from './statistics/quantile.js';
