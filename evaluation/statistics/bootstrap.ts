import { uniforms } from '../../models/tensors/random.js';
import { quantile } from './quantile.js';

export interface BootstrapInterval {
  /** The statistic of the sample itself. */
  readonly value: number;
  readonly low: number;
  readonly high: number;
  /** Standard deviation over the resamples. */
  readonly deviation: number;
  readonly resamples: number;
  readonly level: number;
}

/**
 * Percentile bootstrap (Efron 1979): `statistic` of `resamples` draws with replacement of `count` indices. Draws come from the
 * counter-based generator, resample k from stream k of `seed`, so that they are the same everywhere.
 * Biased statistics (a Fréchet distance grows when rows repeat) stay biased: use it for ratios and quantiles.
 */
export function bootstrapInterval(
  count: number,
  statistic: (indices: Uint32Array) => number,
  options: { readonly seed: number; readonly resamples?: number; readonly level?: number },
): BootstrapInterval {
  const { seed, resamples = 1000, level = 0.95 } = options;
  if (count < 1) throw new RangeError('a bootstrap of no values');
  const value = statistic(Uint32Array.from({ length: count }, (_, i) => i));
  const values = Float64Array.from({ length: resamples }, (_, k) => {
    const indices = Uint32Array.from(uniforms(seed, k, count), (u) => Math.min(count - 1, Math.floor(u * count)));
    return statistic(indices);
  });
  const mean = values.reduce((a, b) => a + b, 0) / resamples;
  const squares = values.reduce((sum, x) => sum + (x - mean) ** 2, 0);
  return {
    value,
    low: quantile(values, (1 - level) / 2),
    high: quantile(values, 1 - (1 - level) / 2),
    deviation: Math.sqrt(squares / Math.max(1, resamples - 1)),
    resamples,
    level,
  };
}
