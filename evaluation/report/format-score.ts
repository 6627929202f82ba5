import type { Score } from '../../contracts/score.js';
import { DASH, fixed, significant } from './format-number.js';

/** Distances nearer to zero than this are rounding of float32 features, not a difference; they are shown as zero. */
const SHOWN_AS_ZERO = 1e-6;

const INTERVALS: Readonly<Record<NonNullable<Score['interval']>, string>> = {
  'student-t': 'Student t',
  bootstrap: 'bootstrap',
  subsets: 'subsets',
  jackknife: 'jackknife',
  wilson: 'Wilson',
};

/** A value of this score as people read it, without its unit: decibels with two decimals, else `digits` significant ones. */
export function scoreValue(score: Pick<Score, 'unit' | 'better'>, value: number | null, digits = 4): string {
  if (value === null) return DASH;
  if (score.better === 'lower' && Math.abs(value) < SHOWN_AS_ZERO) return '0';
  return score.unit === 'dB' ? fixed(value, 2) : significant(value, digits);
}

/** `21.9 to 22.4`; a dash when the score has no interval. */
export function scoreInterval(score: Score): string {
  if (score.low === null || score.high === null) return DASH;
  return `${scoreValue(score, score.low, 3)} to ${scoreValue(score, score.high, 3)}`;
}

/** `95 % Student t`; empty without an interval. */
export function intervalName({ interval, level }: Pick<Score, 'interval' | 'level'>): string {
  if (interval === null) return '';
  return level === null ? INTERVALS[interval] : `${fixed(level * 100, 0)} % ${INTERVALS[interval]}`;
}

const METRICS: Readonly<Record<string, string>> = {
  psnr: 'PSNR',
  ssim: 'SSIM',
  lpips: 'LPIPS-style distance',
  'latent-sqnr': 'Latent SQNR',
  frechet: 'Fréchet distance',
  fid: 'FID',
  sfid: 'Spatial Fréchet distance',
  kid: 'KID',
  mind: 'MIND',
};

/** A metric's name for headings; its id when it has no other. */
export function metricName(metric: string): string {
  return METRICS[metric] ?? metric;
}

/** How many pictures stand on either side: `256` or `256 : 1640`. */
export function scoreCounts({ n, referenceN }: Pick<Score, 'n' | 'referenceN'>): string {
  return referenceN === null || referenceN === n ? String(n) : `${n} : ${referenceN}`;
}

/** A p-value in two significant digits; a dash when not tested. */
export function pValueText(pValue: number | null): string {
  return pValue === null ? DASH : significant(pValue, 2);
}
