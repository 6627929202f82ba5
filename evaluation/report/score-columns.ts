import type { PipelineScores } from '../pipeline-scores.js';
import { meanInterval, pairedInterval } from '../statistics/paired-interval.js';
import { quantile } from '../statistics/quantile.js';
import type { ScoreColumn, ScoreRole, ScoreTableData, TimestepSeries } from './report-data.js';

/** One evaluation of a run and what it stands for. */
export interface RoledScores {
  readonly role: ScoreRole;
  readonly scores: PipelineScores;
}

/** The score table of a run's evaluations, with the paired difference that finetuning made when both sides were evaluated. */
export function scoreTableData(evaluations: readonly RoledScores[]): ScoreTableData {
  const frechet = evaluations[0]?.scores.frechet;
  const before = evaluations.find(({ role }) => role === 'before')?.scores;
  const after = evaluations.find(({ role }) => role === 'after')?.scores;
  const paired = before === undefined || after === undefined ? null : pairedInterval(before.psnrDb, after.psnrDb);
  return {
    columns: evaluations.map(scoreColumn),
    frechetName: frechet?.name,
    referenceCount: frechet?.referenceCount ?? null,
    floatToReference: frechet?.floatToReference ?? null,
    paired: paired === null ? null : { psnrDb: { mean: paired.mean, low: paired.low, high: paired.high }, n: paired.n },
  };
}

function scoreColumn({ role, scores }: RoledScores): ScoreColumn {
  const { mean, low, high } = meanInterval(scores.psnrDb);
  return {
    role,
    label: scores.label,
    samples: scores.samples,
    psnrDb: mean,
    psnrInterval: { low, high },
    psnrP10Db: quantile(scores.psnrDb, 0.1),
    ssim: meanInterval(scores.ssim).mean,
    latentSqnrDb: scores.latentSqnrDb,
    frechetToFloat: scores.frechet.toFloat,
    frechetToReference: scores.frechet.toReference,
    denoiserRelativeMse: scores.denoiserRelativeMse,
  };
}

/** Latent SQNR by timestep, a line per evaluation. */
export function timestepSeries(evaluations: readonly RoledScores[]): TimestepSeries[] {
  return evaluations.map(({ role, scores }) => ({ role, label: scores.label, points: scores.timestepSqnr }));
}
