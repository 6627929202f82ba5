import type { EvaluationHeadline } from '../../contracts/run-summary.js';
import type { Score } from '../../contracts/score.js';
import type { EvaluationDetails, TimestepDifferences } from '../evaluation-details.js';
import { headlineOf } from '../score-headline.js';
import { pairedInterval } from '../statistics/paired-interval.js';
import { quantile } from '../statistics/quantile.js';
import type { ReportData, ScoreColumn, ScoreRole, ScoreTableData } from './report-data.js';

/** One evaluation of a run and what it stands for. */
export interface RoledScores {
  readonly role: ScoreRole;
  readonly label: string;
  readonly scores: readonly Score[];
  readonly details: EvaluationDetails;
  /** What ran: the float model, the shipped file, or the shipped file's arithmetic in float operators. */
  readonly arithmetic: 'float' | 'shipped' | 'shipped-in-float';
}

/** Fréchet distances of an evaluation, with their name and what the reference is. */
export interface FrechetScores {
  /** `frechet[<extractor>@<sha256:8>]`; absent when there is none. */
  readonly name?: string;
  readonly toFloat: number | null;
  readonly toReference: number | null;
  /** Pictures behind the reference features. */
  readonly referenceCount: number | null;
}

/**
 * The score table of a run's evaluations, with the paired difference that finetuning made when both sides were evaluated.
 * @param floatToReference Fréchet distance of the float pictures themselves to the reference; null without one
 */
export function scoreTableData(evaluations: readonly RoledScores[], floatToReference: number | null): ScoreTableData {
  const [first] = evaluations;
  const frechet = first === undefined ? undefined : frechetOf(first.scores);
  const psnrOf = (wanted: ScoreRole) => evaluations.find(({ role }) => role === wanted)?.details.pictures.psnr;
  const [before, after] = [psnrOf('before'), psnrOf('after')];
  const paired = before === undefined || after === undefined ? null : pairedInterval(before, after);
  return {
    columns: evaluations.map(scoreColumn),
    ...(frechet?.name === undefined ? {} : { frechetName: frechet.name }),
    referenceCount: frechet?.referenceCount ?? null,
    floatToReference,
    paired: paired === null ? null : { psnrDb: { mean: paired.mean, low: paired.low, high: paired.high }, n: paired.n },
  };
}

/** The Fréchet distances among scores. */
export function frechetOf(scores: readonly Score[]): FrechetScores {
  const distances = scores.filter(({ metric }) => metric === 'frechet');
  const [toFloat, toReference] = (['float', 'reference'] as const).map((side) =>
    distances.find(({ against }) => against === side),
  );
  const name = distances[0]?.name.replace(/-\d+$/, '');
  return {
    ...(name === undefined ? {} : { name }),
    toFloat: toFloat?.value ?? null,
    toReference: toReference?.value ?? null,
    referenceCount: toReference?.referenceN ?? null,
  };
}

function scoreColumn({ role, label, scores, details }: RoledScores): ScoreColumn {
  const psnr = scores.find(({ metric }) => metric === 'psnr');
  const headline: Omit<EvaluationHeadline, 'label'> = headlineOf(scores);
  return {
    role,
    label,
    samples: psnr?.n ?? 0,
    ...headline,
    psnrInterval:
      psnr === undefined || psnr.low === null || psnr.high === null ? null : { low: psnr.low, high: psnr.high },
    psnrP10Db: quantile(details.pictures.psnr ?? [], 0.1),
  };
}

/** Latents against those of the float trajectories by timestep, a line for each side that has some. */
export function differenceSeries(
  sides: readonly { readonly role: ScoreRole; readonly label: string; readonly points: TimestepDifferences | null }[],
): Pick<ReportData, 'timestepSqnr' | 'trajectoryError'> {
  const known = sides.flatMap(({ role, label, points }) => (points === null ? [] : [{ role, label, points }]));
  return known.length === 0 ? {} : { timestepSqnr: known, trajectoryError: known };
}
