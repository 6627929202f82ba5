import { type MetricSettings, metricSettingsSchema } from '../../../contracts/protocol.js';
import { type FeatureRows, rowsInMemory } from '../../../evaluation/features/feature-set.js';
import { plainProducts } from '../../../evaluation/linalg/matrix-products.js';
import type { MetricContext, MetricValue } from '../../../evaluation/metrics/set-metric.js';
import { gaussianTensor } from '../../../models/tensors/random.js';
import { type Float32Tensor, float32 } from '../../../models/tensors/tensor.js';
import { goldenFloat32, goldenJson } from '../golden.js';

/** The golden sets of features. */
export const GOLDEN_CASES = [
  'duplicates',
  'full_rank',
  'heavy_tail',
  'identical',
  'n_lt_d',
  'near_identical',
  'offset_mean',
  'unequal_n',
] as const;

/** Plain products and the default settings but for the given ones. */
export function metricContext(settings: Partial<MetricSettings> = {}): MetricContext {
  return {
    products: plainProducts,
    settings: { ...metricSettingsSchema.parse({}), ...settings },
    breathe: async () => undefined,
  };
}

export function goldenFeatures<T>(name: string): { fake: FeatureRows; real: FeatureRows; expected: T } {
  const folder = `metrics/features/${name}`;
  return {
    fake: rowsInMemory(goldenFloat32(`${folder}/fake.npy`)),
    real: rowsInMemory(goldenFloat32(`${folder}/real.npy`)),
    expected: goldenJson<T>(`${folder}/expected.json`),
  };
}

/** Unit normal rows [n, d], moved by `shift` in every column and stretched. */
export function normalRows(seed: number, n: number, d: number, shift = 0, scale = 1): FeatureRows {
  const { data } = gaussianTensor(seed, 0, [n, d]);
  return rowsInMemory(
    float32(
      [n, d],
      data.map((value) => value * scale + shift),
    ),
  );
}

/** All rows, one set below the other. */
export async function stacked(...parts: readonly FeatureRows[]): Promise<FeatureRows> {
  const read = await Promise.all(parts.map((part) => part.read(0, part.n)));
  const values = read.flatMap((data) => [...data]);
  const d = parts[0]?.d ?? 1;
  return rowsInMemory(float32([values.length / d, d], values));
}

export async function tensorOf(rows: FeatureRows): Promise<Float32Tensor> {
  return float32([rows.n, rows.d], await rows.read(0, rows.n));
}

/** The value with this name. */
export function namedValue(values: readonly MetricValue[], metric: string): MetricValue {
  const found = values.find((value) => value.metric === metric);
  if (found === undefined) throw new Error(`no ${metric} among ${values.map((value) => value.metric).join(', ')}`);
  return found;
}
