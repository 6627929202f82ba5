import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { median } from '../autodiff/timing.js';
import { FEATURES, writeFeatureFiles } from './feature-files.js';
import { type Measured, measured, type Work } from './measured.js';
import type { MetricsArguments } from './metrics-arguments.js';
import { type FidelityRun, torchFidelity } from './torch-fidelity.js';

/** Metrics that torch-fidelity has, too, by their ids here. */
const METRICS = ['frechet', 'kid', 'inception-score', 'prdc'] as const;
/** Pictures a side of the large run: what the field reports FID with. */
const SCALE_SAMPLES = 50_000;
const MEGABYTE = 1e6;

/** Names of the same values on both sides. */
const SAME_VALUES = [
  ['frechet', 'frechet_inception_distance'],
  ['kid', 'kernel_inception_distance_mean'],
  ['inception-score', 'inception_score_mean'],
  ['precision', 'precision'],
  ['recall', 'recall'],
] as const;

interface Time {
  readonly busy: number;
  readonly wall: number;
}

/** Every metric alone and all together, beside torch-fidelity; rounds are interleaved. */
export async function comparisonLines(settings: MetricsArguments): Promise<string[]> {
  const { samples, threads, rounds, python } = settings;
  return inFolder(samples, threads, async (folder) => {
    const work: Work = { folder, samples, threads, where: 'memory' };
    const together: Measured[] = [];
    const other: FidelityRun[] = [];
    for (let round = 0; round < rounds; round += 1) {
      together.push(measured(work, METRICS));
      const run = python === undefined ? null : torchFidelity(python, folder, threads);
      if (run !== null) other.push(run);
    }
    const alone = METRICS.map((metric) => [metric, measured(work, [metric])] as const);
    const all = medianTime(together);
    return [
      ...alone.map(([metric, run]) => timeLine(`${metric} alone (once)`, run)),
      timeLine(`all together (median of ${rounds})`, all),
      memoryLine('all together', together),
      ...(python === undefined ? [] : otherLines(all, other, together[0]?.values ?? {})),
    ];
  });
}

function otherLines(all: Time, runs: readonly FidelityRun[], values: Measured['values']): string[] {
  const [first] = runs;
  if (first === undefined) return ['torch-fidelity: not measured (see above)'];
  const parts = METRICS.map((metric) => {
    const found = runs.map(({ parts: of }) => of[metric] ?? { busy: Number.NaN, wall: Number.NaN });
    return [metric, medianTime(found)] as const;
  });
  const sums = runs.map(({ parts: of }) =>
    Object.values(of).reduce((a, b) => ({ busy: a.busy + b.busy, wall: a.wall + b.wall }), { busy: 0, wall: 0 }),
  );
  const total = medianTime(sums);
  const agreement = SAME_VALUES.map(([ours, theirs]) => `${ours} ${values[ours]} (${first.values[theirs]})`);
  return [
    ...parts.map(([metric, time]) =>
      timeLine(`torch-fidelity ${first.version}, ${metric} (median of ${runs.length})`, time),
    ),
    timeLine('torch-fidelity, all', total),
    `torch-fidelity: peak memory ${megabytes(first.peakBytes)}`,
    `all together, relative to torch-fidelity: ${(all.wall / total.wall).toFixed(2)} on the wall, ${(all.busy / total.busy).toFixed(2)} of processor time`,
    `values (torch-fidelity's): ${agreement.join(', ')}`,
  ];
}

/** 50,000 pictures a side that stay in their files. */
export async function scaleLines({ threads }: MetricsArguments): Promise<string[]> {
  return inFolder(SCALE_SAMPLES, threads, async (folder) => {
    const run = measured({ folder, samples: SCALE_SAMPLES, threads, where: 'stream' }, ['frechet']);
    const size = 2 * SCALE_SAMPLES * FEATURES * 4;
    return [
      `${SCALE_SAMPLES} × ${FEATURES} a side, ${megabytes(size)} of features in files`,
      timeLine('frechet', run),
      memoryLine('frechet', [run]),
    ];
  });
}

async function inFolder(
  samples: number,
  threads: number,
  use: (folder: string) => Promise<string[]>,
): Promise<string[]> {
  const folder = mkdtempSync(join(tmpdir(), 'nibbleflow-metrics-'));
  try {
    await writeFeatureFiles(folder, samples, threads);
    return await use(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function medianTime(times: readonly Time[]): Time {
  return { busy: median(times.map(({ busy }) => busy)), wall: median(times.map(({ wall }) => wall)) };
}

function timeLine(title: string, { busy, wall }: Time): string {
  return `${title}: ${(wall / 1000).toFixed(1)} s on the wall, ${(busy / 1000).toFixed(1)} s of processor time`;
}

function memoryLine(title: string, runs: readonly Measured[]): string {
  const own = median(runs.map((run) => run.peakBytes));
  const engine = median(runs.map((run) => run.enginePeakBytes));
  return `${title}: peak memory ${megabytes(own)}, and ${megabytes(engine)} in the engine`;
}

function megabytes(bytes: number): string {
  return `${(bytes / MEGABYTE).toFixed(0)} MB`;
}
