import type { Score } from '../contracts/score.js';
import type { PipelineScores } from './pipeline-scores.js';
import { significant } from './report/format-number.js';
import { type MeanInterval, meanInterval } from './statistics/paired-interval.js';

/** Fewer pictures than this and a Fréchet distance says more about n than about the pictures. */
const ENOUGH_FOR_FRECHET = 10_000;

const LEVEL = 0.95;

/**
 * Scores of a quantized pipeline as scores.json holds them: same-seed metrics, then distances to float, then to the reference.
 * @param floor the float pipeline with other seeds, evaluated with as many pictures; null when that was not measured
 * @param pairs calls of the denoiser behind its own error, which is named after them; null: not known, then it is left out
 */
export function scoresOf(scores: PipelineScores, floor: PipelineScores | null, pairs: number | null): Score[] {
  const { samples, frechet, arithmetic } = scores;
  const simulated = arithmetic === 'shipped-in-float' ? ['the shipped file’s arithmetic ran in float operators'] : [];
  const row = (metric: string, changes: Partial<Score>): Score => ({
    name: `${metric}-${samples}`,
    metric,
    against: 'float',
    value: null,
    low: null,
    high: null,
    level: null,
    interval: null,
    n: samples,
    referenceN: samples,
    unit: '',
    better: 'higher',
    floor: null,
    pValue: null,
    extractor: null,
    protocol: null,
    notes: simulated,
    ...changes,
  });
  const mean = (values: readonly number[], other: readonly number[] | undefined) => ({
    ...withInterval(meanInterval(values, LEVEL)),
    floor: other === undefined ? null : meanInterval(other).mean,
  });
  const distance = (changes: Partial<Score>): Score =>
    row('frechet', {
      name: `${frechet.name}-${samples}`,
      better: 'lower',
      extractor: /\[(.*)\]/.exec(frechet.name)?.[1] ?? null,
      notes: [...simulated, ...fewPictures(samples)],
      ...changes,
    });
  return [
    row('psnr', { ...mean(scores.psnrDb, floor?.psnrDb), unit: 'dB' }),
    row('ssim', mean(scores.ssim, floor?.ssim)),
    row('latent-sqnr', { value: scores.latentSqnrDb, unit: 'dB', floor: floor?.latentSqnrDb ?? null }),
    row('denoiser-relative-mse', {
      name: `denoiser-relative-mse-${pairs ?? samples}`,
      n: pairs ?? samples,
      referenceN: pairs ?? samples,
      value: pairs === null ? null : scores.denoiserRelativeMse,
      better: 'lower',
    }),
    distance({ value: frechet.toFloat, floor: floor?.frechet.toFloat ?? null }),
    distance({
      against: 'reference',
      value: frechet.toReference,
      referenceN: frechet.referenceCount,
      notes: [...simulated, ...fewPictures(samples), ...floatBeside(frechet.floatToReference)],
    }),
  ].filter(({ value }) => value !== null);
}

function withInterval({ mean, low, high, level }: MeanInterval): Partial<Score> {
  return { value: mean, low, high, level, interval: 'student-t' };
}

function floatBeside(distance: number | null): string[] {
  return distance === null ? [] : [`the float pictures themselves are ${significant(distance)} from the reference`];
}

function fewPictures(n: number): string[] {
  return n < ENOUGH_FOR_FRECHET
    ? [`a Fréchet distance of ${n} pictures is biased upwards: compare it with others of the same n only`]
    : [];
}
