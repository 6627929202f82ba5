import type { Score } from '../contracts/score.js';
import type { DenoiserComparison } from './denoiser-comparison.js';
import { relativeMseOf } from './metrics/relative-mse.js';
import { bootstrapInterval } from './statistics/bootstrap.js';
import { NOT_FINITE } from './trajectory-scores.js';

const LEVEL = 0.95;
const METRIC = 'denoiser-relative-mse';

/**
 * `denoiser-relative-mse`, Σ(y − ŷ)² / Σy² of the denoiser's output on calls of float trajectories. The interval is a bootstrap over
 * pictures, not over calls: those of one trajectory see alike inputs.
 */
export function denoiserScore(
  { denoiserRelativeMse, calls, pictures, arithmetic }: DenoiserComparison,
  options: { readonly seed: number; readonly resamples: number; readonly protocol: string },
): Score {
  const isSound = Number.isFinite(denoiserRelativeMse);
  return {
    ...{ name: `${METRIC}-${calls}`, metric: METRIC, against: 'float', value: isSound ? denoiserRelativeMse : null },
    ...(isSound && pictures.length > 1 ? intervalOver(pictures, options) : NO_INTERVAL),
    ...{ n: calls, referenceN: calls, unit: '', better: 'lower', floor: null, pValue: null },
    ...{ extractor: null, protocol: options.protocol },
    notes: [
      ...(arithmetic === 'shipped' ? [] : ['the shipped file’s arithmetic ran in float operators']),
      ...(isSound ? [] : [NOT_FINITE]),
      `n counts calls on the float trajectories of ${pictures.length} pictures`,
    ],
  };
}

const NO_INTERVAL = { low: null, high: null, level: null, interval: null } as const;

function intervalOver(
  pictures: DenoiserComparison['pictures'],
  options: { readonly seed: number; readonly resamples: number },
): Pick<Score, 'low' | 'high' | 'level' | 'interval'> {
  const ratio = (drawn: ArrayLike<number>): number => {
    let [signal, noise] = [0, 0];
    for (let i = 0; i < drawn.length; i += 1) {
      const picture = pictures[drawn[i] as number];
      signal += picture?.signal ?? 0;
      noise += picture?.noise ?? 0;
    }
    return relativeMseOf({ signal, noise });
  };
  const { low, high } = bootstrapInterval(pictures.length, ratio, { ...options, level: LEVEL });
  return { low, high, level: LEVEL, interval: 'bootstrap' };
}
