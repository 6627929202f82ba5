import type { EvaluationHeadline } from '../contracts/run-summary.js';
import type { Score } from '../contracts/score.js';

/** The numbers of an evaluation that stand in tables of several. Throws RangeError without same-seed scores. */
export function headlineOf(scores: readonly Score[]): Omit<EvaluationHeadline, 'label'> {
  const value = (metric: string, against: Score['against'] = 'float'): number | null =>
    scores.find((score) => score.metric === metric && score.against === against)?.value ?? null;
  const psnrDb = value('psnr');
  if (psnrDb === null) throw new RangeError('the evaluation has no same-seed PSNR');
  return {
    psnrDb,
    ssim: value('ssim'),
    latentSqnrDb: value('latent-sqnr'),
    frechetToFloat: value('frechet'),
    frechetToReference: value('frechet', 'reference'),
    denoiserRelativeMse: value('denoiser-relative-mse'),
  };
}
