import type { FeatureRows } from '../features/feature-set.js';
import { groupJackknife } from '../statistics/group-jackknife.js';
import { binOf, histogramDistance } from '../statistics/histogram-distance.js';
import { JACKKNIFE_GROUPS, jackknifeGroups } from '../statistics/jackknife-groups.js';
import type { MetricContext, MetricValue, SetMetric } from './set-metric.js';

/**
 * Visual DNA (Ramtoula et al. 2023): a histogram of every neuron's activations over a set, sets compared by the earth mover's
 * distance of their histograms, averaged over neurons; in units of the features.
 *
 * Range of a neuron's histogram: from its smallest to its largest value over both sets, in 1000 equal bins, so that nothing is
 * outside and both sets have the same bins. Histograms of one range add up: those of two halves are the whole's.
 */
export interface NeuronRange {
  /** [d] */
  readonly low: Float64Array;
  readonly binWidth: Float64Array;
}

export const DNA_BINS = 1000;

/** Counts in memory, 64 MiB of uint32. */
const COUNTS = 2 ** 24;
/** Numbers of a tile of rows, 4 MiB. */
const TILE_ELEMENTS = 2 ** 20;

/** Ranges of all neurons over several sets [n, d]; a neuron that never changes has bins of width 0. */
export async function neuronRanges(sets: readonly FeatureRows[], breathe: () => Promise<void>): Promise<NeuronRange> {
  const d = sets[0]?.d ?? 0;
  const low = new Float64Array(d).fill(Number.POSITIVE_INFINITY);
  const high = new Float64Array(d).fill(Number.NEGATIVE_INFINITY);
  for (const rows of sets) {
    await eachTile(rows, breathe, (data) => {
      for (let at = 0; at < data.length; at += 1) {
        const j = at % d;
        const value = data[at] as number;
        if (value < (low[j] as number)) low[j] = value;
        if (value > (high[j] as number)) high[j] = value;
      }
    });
  }
  return { low, binWidth: high.map((value, j) => (value - (low[j] as number)) / DNA_BINS) };
}

/**
 * Histograms of neurons first … end − 1 of each group of rows: counts [end − first, groups, DNA_BINS].
 * @param groupOf the group of each row; without it all rows are of one
 */
export async function neuronHistograms(
  rows: FeatureRows,
  { low, binWidth }: NeuronRange,
  [first, end]: readonly [number, number],
  groupOf: Uint8Array | null,
  breathe: () => Promise<void>,
): Promise<Uint32Array> {
  const { d } = rows;
  const groups = groupOf === null ? 1 : JACKKNIFE_GROUPS;
  const counts = new Uint32Array((end - first) * groups * DNA_BINS);
  await eachTile(rows, breathe, (data, firstRow) => {
    for (let at = 0, row = firstRow; at < data.length; at += d, row += 1) {
      const group = groupOf === null ? 0 : (groupOf[row] as number);
      for (let j = first; j < end; j += 1) {
        const width = binWidth[j] as number;
        const bin = width === 0 ? 0 : binOf(data[at + j] as number, low[j] as number, width, DNA_BINS);
        const place = ((j - first) * groups + group) * DNA_BINS + bin;
        counts[place] = (counts[place] as number) + 1;
      }
    }
  });
  return counts;
}

async function eachTile(
  rows: FeatureRows,
  breathe: () => Promise<void>,
  add: (data: Float32Array, firstRow: number) => void,
): Promise<void> {
  const step = Math.max(1, Math.floor(TILE_ELEMENTS / rows.d));
  for (let first = 0; first < rows.n; first += step) {
    add(await rows.read(first, Math.min(rows.n, first + step)), first);
    await breathe();
  }
}

/** `visual-dna` between sets of pictures. */
export const visualDna: SetMetric = {
  id: 'visual-dna',
  output: 'pool',
  sides: 2,
  minimum: 2,
  compute: async (fake, real, context: MetricContext): Promise<readonly MetricValue[]> => {
    const { breathe, partners } = context;
    const ranges = await neuronRanges([real, fake], breathe);
    const hasGroups = Math.min(fake.n, real.n) >= 2 * JACKKNIFE_GROUPS;
    const groups = hasGroups ? JACKKNIFE_GROUPS : 1;
    const groupOf = hasGroups ? jackknifeGroups(fake.n, real.n, partners) : { fake: null, real: null };
    const sums = new Float64Array(groups + 1);
    const block = Math.max(1, Math.floor(COUNTS / (2 * groups * DNA_BINS)));
    for (let first = 0; first < real.d; first += block) {
      const span = [first, Math.min(real.d, first + block)] as const;
      const left = await neuronHistograms(fake, ranges, span, groupOf.fake, breathe);
      const right = await neuronHistograms(real, ranges, span, groupOf.real, breathe);
      for (let j = first; j < span[1]; j += 1) {
        const width = ranges.binWidth[j] as number;
        addDistances(sums, groupsOf(left, j - first, groups), groupsOf(right, j - first, groups), width);
      }
      await breathe();
    }
    return [averageDistance(sums.map((sum) => sum / real.d))];
  },
};

/** One neuron's histograms, a view per group. */
function groupsOf(counts: Uint32Array, neuron: number, groups: number): Uint32Array[] {
  return Array.from({ length: groups }, (_, g) => {
    const start = (neuron * groups + g) * DNA_BINS;
    return counts.subarray(start, start + DNA_BINS);
  });
}

/** Adds the distance of all rows to sums[0], and of those without group g of both sets to sums[1 + g]. */
function addDistances(sums: Float64Array, left: readonly Uint32Array[], right: readonly Uint32Array[], width: number) {
  const all = [left, right].map((parts) => {
    const whole = new Float64Array(DNA_BINS);
    for (const part of parts)
      for (let b = 0; b < DNA_BINS; b += 1) whole[b] = (whole[b] as number) + (part[b] as number);
    return whole;
  });
  const [a, b] = all as [Float64Array, Float64Array];
  sums[0] = (sums[0] as number) + histogramDistance(a, b, width);
  for (let g = 0; left.length > 1 && g < left.length; g += 1) {
    const without = (whole: Float64Array, part: Uint32Array | undefined) =>
      whole.map((count, bin) => count - (part?.[bin] ?? 0));
    sums[1 + g] = (sums[1 + g] as number) + histogramDistance(without(a, left[g]), without(b, right[g]), width);
  }
}

function averageDistance(means: Float64Array): MetricValue {
  const value = means[0] as number;
  const jackknife = means.length > 2 ? groupJackknife(value, means.subarray(1)) : null;
  return {
    metric: 'visual-dna',
    value,
    low: jackknife === null ? null : Math.max(0, jackknife.low),
    high: jackknife?.high ?? null,
    interval: jackknife === null ? null : 'jackknife',
    better: 'lower',
    unit: '',
    notes: [`earth mover's distance of the histograms of each feature, ${DNA_BINS} bins, averaged over features`],
  };
}
