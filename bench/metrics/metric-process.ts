import { join } from 'node:path';
import { EngineExecutor } from '../../activities/engine/engine-executor.js';
import { type MetricSettings, metricSettingsSchema } from '../../contracts/protocol.js';
import type { FeatureRows } from '../../evaluation/features/feature-set.js';
import { rowsInMemory } from '../../evaluation/features/feature-set.js';
import { executorProducts } from '../../evaluation/linalg/executor-products.js';
import { scoreSets } from '../../evaluation/score-sets.js';
import { float32 } from '../../models/tensors/tensor.js';
import { CLASSES, FEATURES } from './feature-files.js';
import type { Measured } from './measured.js';
import { openNpyRows } from './npy-rows.js';
import { peakBytes, usageWith } from './process-usage.js';

/**
 * `node metric-process.js FOLDER SAMPLES THREADS stream|memory METRIC,…`: scores the features of a folder in this fresh process
 * and prints what that took as a line of JSON. `stream`: rows stay in their files, else they are read first, outside the clock.
 */
const [folder = '', samples = '', threads = '', where = '', metrics = ''] = process.argv.slice(2);

/** As torch-fidelity computes them by default; it has no p-value, so none is asked for here. */
const settings: MetricSettings = metricSettingsSchema.parse({ neighbours: 3, permutations: 0, splits: 10 });

const n = Number(samples);
const files = await Promise.all(
  (
    [
      ['fake', FEATURES],
      ['real', FEATURES],
      ['logits', CLASSES],
    ] as const
  ).map(([name, d]) => openNpyRows(join(folder, `${name}.npy`), n, d)),
);
const [fake, real, logits] = where === 'stream' ? files : await Promise.all(files.map(inMemory));
if (fake === undefined || real === undefined || logits === undefined) throw new Error('three files are wanted');

const executor = await EngineExecutor.start({ device: 'cpu', threads: Number(threads) });
const products = executorProducts(executor);
const keys = Array.from({ length: n }, (_, i) => String(i));
const extractor = { name: 'bench', sha256: '0'.repeat(64) };
const before = usageWith(executor.pid);
const scores = await scoreSets({
  ...{ fake: { extractor, keys, pool: fake, logits }, real: { extractor, keys, pool: real, logits } },
  ...{ against: 'reference', metrics: metrics.split(','), protocol: null },
  context: { products, settings, breathe: async () => undefined },
});
const after = usageWith(executor.pid);
const measured: Measured = {
  busy: after.busy - before.busy,
  wall: after.wall - before.wall,
  peakBytes: peakBytes('self'),
  enginePeakBytes: peakBytes(executor.pid),
  values: Object.fromEntries(scores.map(({ metric, value }) => [metric, value])),
};
await products.release();
await executor.close();
await Promise.all(files.map((file) => file.close()));
process.stdout.write(JSON.stringify(measured));

async function inMemory(rows: FeatureRows): Promise<FeatureRows> {
  return rowsInMemory(float32([rows.n, rows.d], await rows.read(0, rows.n)));
}
