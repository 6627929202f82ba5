import type { Score } from '../contracts/score.js';
import { inCanonicalOrder, type PairedImageScores } from './metrics/paired-image-scores.js';
import { SSIM_VARIANTS } from './metrics/ssim.js';
import { meanInterval } from './statistics/paired-interval.js';

/** What same-seed scores are called and measured with. */
export interface PairedScoreOptions {
  readonly against: Score['against'];
  /** `lpips[<label>]` and the label; null when the extractor declares no layers. */
  readonly lpips: { readonly name: string; readonly extractor: string } | null;
  readonly notes: readonly string[];
}

const LEVEL = 0.95;

/** Means over pairs with their intervals. Values are summed in canonical order: the order of files changes no bit. */
export function pairedScores(
  { n, order, psnrDb, ssim, lpips }: PairedImageScores,
  { against, lpips: distance, notes }: PairedScoreOptions,
): Score[] {
  const score = (metric: string, values: Float64Array, changes: Partial<Score>): Score => {
    const { mean, low, high } = meanInterval(inCanonicalOrder(values, order), LEVEL);
    const interval = n > 1 ? ({ low, high, level: LEVEL, interval: 'student-t' } as const) : NO_INTERVAL;
    const row: Omit<Score, 'name'> = {
      ...{ metric, against, value: mean, ...interval, n, referenceN: n, unit: '', better: 'higher' },
      ...{ floor: null, pValue: null, extractor: null, protocol: null, notes: [...notes] },
    };
    return { name: `${metric}-${n}`, ...row, ...changes };
  };
  const small = `ssim needs pictures of at least ${SSIM_VARIANTS['gaussian-wang'].window.length} pixels a side`;
  const lower = { better: 'lower', name: `${distance?.name}-${n}`, extractor: distance?.extractor ?? null } as const;
  return [
    score('psnr', psnrDb, { unit: 'dB' }),
    ssim === null
      ? score('ssim', psnrDb, { value: null, ...NO_INTERVAL, notes: [...notes, small] })
      : score('ssim', ssim, {}),
    ...(lpips === null ? [] : [score('lpips', lpips, lower)]),
  ];
}

const NO_INTERVAL = { low: null, high: null, level: null, interval: null } as const;
