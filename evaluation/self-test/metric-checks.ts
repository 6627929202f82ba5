import { gaussianTensor } from '../../models/tensors/random.js';
import { type Float32Tensor, float32 } from '../../models/tensors/tensor.js';
import { rowsInMemory } from '../features/feature-set.js';
import { plainProducts } from '../linalg/matrix-products.js';
import type { MetricContext, SetMetric } from '../metrics/set-metric.js';
import { diagonalFrechetDistance, type KnownGaussian, knownRows } from './known-gaussian.js';
import { metricById, numberOf, type SelfTestRow, selfTestRow } from './self-test-row.js';

/**
 * Checks of the metrics on features whose scores are known: by definition (a set and itself), by a closed form (two diagonal
 * Gaussians), or by summing the definition with plain loops (KID).
 */

/** float64 sums of some hundred terms, in another order. */
const FLOAT64_RELATIVE = 1e-12;
/** The known rows are rounded to float32: 2⁻²⁴ of each coordinate, squared distances twice that. */
const FLOAT32_RELATIVE = 1e-6;
/** Random directions of MIND: its relative error for a pure shift is √(2/M), five of them are never seen. */
const MIND_DEVIATIONS = 5;
/** Distances of a set from itself, relative to its total variance: what the metrics call rounding. */
const ZERO = 1e-9;

/** Far enough apart that KID is no difference of nearly equal numbers. */
const KID_SHIFT = 0.5;

const D = 24;
const N = 60;

/** What a set scores against itself; every number of these metrics. */
const AGAINST_ITSELF: Readonly<Record<string, Readonly<Record<string, number>>>> = {
  frechet: { frechet: 0 },
  sfid: { sfid: 0 },
  mind: { mind: 0 },
  'sliced-wasserstein': { 'sliced-wasserstein': 0 },
  'visual-dna': { 'visual-dna': 0 },
  prdc: { precision: 1, recall: 1, density: 1, coverage: 1 },
};

/** Every distance of a set from itself. */
export async function sameSetChecks(metrics: readonly SetMetric[], context: MetricContext): Promise<SelfTestRow[]> {
  const rows = rowsInMemory(gaussianTensor(21, 0, [N, D]));
  const checks: SelfTestRow[] = [];
  for (const [id, expected] of Object.entries(AGAINST_ITSELF)) {
    const values = await metricById(metrics, id).compute(rows, rows, context);
    for (const [name, value] of Object.entries(expected)) {
      const label = `${name} of a set and itself is ${value}`;
      checks.push(selfTestRow(label, Math.abs(numberOf(values, name) - value), ZERO));
    }
  }
  return checks;
}

/** Two Gaussians with diagonal covariances, and two that differ by a shift. */
export async function closedFormChecks(metrics: readonly SetMetric[], context: MetricContext): Promise<SelfTestRow[]> {
  const a: KnownGaussian = { mean: ramp(0.1), deviation: ramp(0.05, 0.5) };
  const b: KnownGaussian = { mean: ramp(-0.07, 1), deviation: ramp(0.03, 0.8) };
  const frechet = await metricById(metrics, 'frechet').compute(rowsOf(a), rowsOf(b), context);
  const shifted: KnownGaussian = { ...a, mean: a.mean.map((value, j) => value + 0.3 + 0.02 * j) };
  const mind = await metricById(metrics, 'mind').compute(rowsOf(a), rowsOf(shifted), context);
  const shift = diagonalFrechetDistance(a, shifted);
  return [
    relativeRow(
      'Fréchet distance of two known Gaussians is |Δμ|² + Σ(Δσ)²',
      numberOf(frechet, 'frechet'),
      diagonalFrechetDistance(a, b),
      FLOAT32_RELATIVE,
    ),
    relativeRow(
      'MIND of a shift is 3·|shift|² in expectation',
      numberOf(mind, 'mind'),
      3 * shift,
      MIND_DEVIATIONS * Math.sqrt(2 / context.settings.projections),
    ),
  ];
}

/** KID of two whole sets against its definition. */
export async function kidCheck(metrics: readonly SetMetric[], context: MetricContext): Promise<SelfTestRow> {
  const a = gaussianTensor(22, 0, [N, D]);
  const b = float32(
    [N, D],
    gaussianTensor(22, 1, [N, D]).data.map((value) => value + KID_SHIFT),
  );
  const whole = { ...context, settings: { ...context.settings, kidSubsets: 1, kidSubsetSize: N } };
  const values = await metricById(metrics, 'kid').compute(rowsInMemory(a), rowsInMemory(b), whole);
  const name = 'KID of two sets equals its definition, summed with plain loops';
  return relativeRow(name, numberOf(values, 'kid'), unbiasedKernelDistance(a, b), FLOAT64_RELATIVE);
}

/** Inception scores with known values: every picture of one certain class, and pictures that say nothing. */
export async function inceptionScoreChecks(
  metrics: readonly SetMetric[],
  context: MetricContext,
): Promise<SelfTestRow[]> {
  const metric = metricById(metrics, 'inception-score');
  const classes = 10;
  const settings = { ...context.settings, splits: 1 };
  const score = async (logits: Float32Tensor): Promise<number> => {
    const rows = rowsInMemory(logits);
    return numberOf(await metric.compute(rows, rows, { ...context, settings }), 'inception-score');
  };
  const certain = float32(
    [N, classes],
    Float32Array.from({ length: N * classes }, (_, i) => (Math.floor(i / classes) % classes === i % classes ? 80 : 0)),
  );
  return [
    relativeRow(
      'Inception score of certain, evenly spread classes is their number',
      await score(certain),
      classes,
      ZERO,
    ),
    relativeRow(
      'Inception score of pictures that say nothing is 1',
      await score(float32([N, classes], new Float32Array(N * classes))),
      1,
      ZERO,
    ),
  ];
}

/** Products on the engine against plain loops. */
export async function productsCheck({ products }: MetricContext): Promise<SelfTestRow> {
  const matrix = (stream: number, rows: number, cols: number) => ({
    rows,
    cols,
    data: Float64Array.from(gaussianTensor(23, stream, [rows, cols]).data),
  });
  const a = matrix(0, 37, 300);
  const b = matrix(1, 41, 300);
  const [fast, plain] = [await products.timesTransposed(a, b), await plainProducts.timesTransposed(a, b)];
  const largest = plain.data.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const off = fast.data.reduce((most, value, i) => Math.max(most, Math.abs(value - (plain.data[i] as number))), 0);
  return selfTestRow('matrix products of the engine equal plain loops', off / largest, FLOAT64_RELATIVE);
}

function relativeRow(name: string, value: number, expected: number, tolerance: number): SelfTestRow {
  return selfTestRow(name, Math.abs(value - expected) / Math.abs(expected), tolerance);
}

/** first, first + step, … [D]. */
function ramp(step: number, first = 0): number[] {
  return Array.from({ length: D }, (_, j) => first + step * j);
}

function rowsOf(gaussian: KnownGaussian) {
  return rowsInMemory(knownRows(gaussian));
}

/** MMD² with the kernel (x·y/d + 1)³, without the diagonals (Bińkowski et al. 2018). */
function unbiasedKernelDistance(a: Float32Tensor, b: Float32Tensor): number {
  const mean = (x: Float32Tensor, y: Float32Tensor): number => {
    let sum = 0;
    for (let i = 0; i < N; i += 1) {
      for (let j = 0; j < N; j += 1) {
        if (x === y && i === j) continue;
        let product = 0;
        for (let k = 0; k < D; k += 1) product += (x.data[i * D + k] as number) * (y.data[j * D + k] as number);
        sum += (product / D + 1) ** 3;
      }
    }
    return sum / (x === y ? N * (N - 1) : N * N);
  };
  return mean(a, a) + mean(b, b) - 2 * mean(a, b);
}
