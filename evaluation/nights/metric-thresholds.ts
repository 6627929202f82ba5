/**
 * Differences below which nobody would act, in each metric's unit: the absolute half of the rule where temporal.config.ts says
 * nothing else. Metrics that are not named have none: their ratio decides alone.
 */
export const ABSOLUTE_THRESHOLDS: Readonly<Record<string, number>> = {
  // Below half a decibel a difference of pictures is hardly seen.
  psnr: 0.5,
  'latent-sqnr': 0.5,
  ssim: 0.005,
  lpips: 0.005,
  // An unbiased estimate spreads by some 1e-4 around zero at a few hundred pictures.
  kid: 5e-4,
  // Shares of pictures.
  precision: 0.02,
  recall: 0.02,
  density: 0.02,
  coverage: 0.02,
  'ood-rate': 0.02,
  'inception-score': 0.05,
  'clip-score': 0.2,
};
