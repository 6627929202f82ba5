import type { FeatureRows } from '../features/feature-set.js';
import { meanInterval } from '../statistics/paired-interval.js';
import type { MetricContext, MetricValue, SetMetric } from './set-metric.js';

/**
 * Inception score (Salimans et al. 2016): exp of the mean KL divergence between p(label | picture) and its mean over pictures,
 *   exp( 1/n Σᵢ Σ_c pᵢ(c)·(ln pᵢ(c) − ln p̄(c)) ),   p = softmax(logits) in float64,
 * of each of `splits` runs of rows floor(s·n/S) … floor((s+1)·n/S) − 1; the value is the mean over splits. It has one side, and
 * depends on the number of rows of a split.
 */
export interface InceptionScore {
  readonly mean: number;
  /** Over splits, divided by their number. */
  readonly deviation: number;
  readonly splits: Float64Array;
}

/** Rows that are read at once: 4 MiB of float32. */
const TILE_ELEMENTS = 2 ** 20;

/** Of logits [n, classes], with the splits in the order of the rows. Throws RangeError for more splits than rows. */
export async function inceptionScore(
  logits: FeatureRows,
  splits: number,
  breathe: () => Promise<void>,
): Promise<InceptionScore> {
  const { n } = logits;
  if (splits > n) throw new RangeError(`${splits} splits of ${n} rows`);
  const values = new Float64Array(splits);
  for (let s = 0; s < splits; s += 1) {
    values[s] = await splitScore(logits, Math.floor((s * n) / splits), Math.floor(((s + 1) * n) / splits), breathe);
  }
  const mean = values.reduce((a, b) => a + b, 0) / splits;
  const deviation = Math.sqrt(values.reduce((a, b) => a + (b - mean) ** 2, 0) / splits);
  return { mean, deviation, splits: values };
}

/** Σᵢ Σ_c pᵢ(c)·ln pᵢ(c) and the marginal are sums over rows: one reading is enough. */
async function splitScore(
  logits: FeatureRows,
  first: number,
  end: number,
  breathe: () => Promise<void>,
): Promise<number> {
  const { d } = logits;
  const marginal = new Float64Array(d);
  const shares = new Float64Array(d);
  const step = Math.max(1, Math.floor(TILE_ELEMENTS / d));
  let negativeEntropy = 0;
  for (let start = first; start < end; start += step) {
    const data = await logits.read(start, Math.min(end, start + step));
    for (let at = 0; at < data.length; at += d) {
      negativeEntropy += addSoftmax(data.subarray(at, at + d), shares, marginal);
    }
    await breathe();
  }
  const n = end - first;
  const ofMean = marginal.reduce((sum, total) => (total > 0 ? sum + (total / n) * Math.log(total / n) : sum), 0);
  return Math.exp(negativeEntropy / n - ofMean);
}

/** Adds softmax(row) to `marginal`; returns Σ p ln p. */
function addSoftmax(row: Float32Array, shares: Float64Array, marginal: Float64Array): number {
  let largest = Number.NEGATIVE_INFINITY;
  for (let c = 0; c < row.length; c += 1) largest = Math.max(largest, row[c] as number);
  let total = 0;
  for (let c = 0; c < row.length; c += 1) {
    const share = Math.exp((row[c] as number) - largest);
    shares[c] = share;
    total += share;
  }
  const logTotal = Math.log(total);
  let sum = 0;
  for (let c = 0; c < row.length; c += 1) {
    const share = (shares[c] as number) / total;
    marginal[c] = (marginal[c] as number) + share;
    if (share > 0) sum += share * ((row[c] as number) - largest - logTotal);
  }
  return sum;
}

/** `inception-score`, of splits in canonical order, with Student's interval over them. */
export const inceptionScoreMetric: SetMetric = {
  id: 'inception-score',
  output: 'logits',
  sides: 1,
  minimum: 2,
  obstacle: (n, _real, { splits }) =>
    n >= 2 * splits ? null : `${n} pictures cannot be cut into ${splits} splits of two`,
  compute: async (logits, _real, { settings, breathe }: MetricContext): Promise<readonly MetricValue[]> => {
    const { mean, deviation, splits } = await inceptionScore(logits, settings.splits, breathe);
    const interval = splits.length < 2 ? null : meanInterval(splits);
    return [
      {
        metric: 'inception-score',
        value: mean,
        low: interval === null ? null : Math.max(1, interval.low),
        high: interval?.high ?? null,
        interval: interval === null ? null : 'student-t',
        better: 'higher',
        unit: '',
        notes: [
          `${splits.length} splits of ${Math.floor(logits.n / splits.length)}, standard deviation ${deviation.toPrecision(3)}`,
        ],
      },
    ];
  },
};
