import type { Runnable } from '../../models/executor.js';
import { concatRows, type Float32Tensor, sliceRows } from '../../models/tensors/tensor.js';
import { extractFeatures, type Features } from '../features/extract-features.js';
import { batchSizeOf, type ExtractorSpec } from '../features/extractor-spec.js';
import { rowsInMemory } from '../features/feature-set.js';
import type { Images } from '../metrics/image-pairs.js';
import type { MetricContext, SetMetric } from '../metrics/set-metric.js';
import { metricById, numberOf, type SelfTestRow, selfTestRow } from './self-test-row.js';
import { shapePictures } from './shape-pictures.js';

/**
 * Checks of the way from pictures to features with the extractor that ships: order, batches, the way through PNG files, and
 * how small a difference its distances show.
 */
export interface ExtractionParts {
  /** The extractor's opened model. */
  readonly extractor: Runnable;
  readonly spec: ExtractorSpec;
  /** Writes pictures as PNG and reads them again. */
  readonly throughPng: (images: Images) => Promise<Images>;
  readonly metrics: readonly SetMetric[];
  readonly context: MetricContext;
}

/** Float32 kernels for other batch sizes may sum in another order. */
const BATCH_RELATIVE = 1e-5;
/** Other sizes of batch to try. */
const OTHER_BATCHES = [1, 5] as const;
/** Two halves of one set are at most this share of the distance to pictures of another kind; measured: about a tenth. */
const FLOOR_SHARE = 0.5;

const PICTURES = { n: 72, height: 40, width: 56 } as const;

/** All of them. The pictures are not square and not of the extractor's size. */
export async function extractionChecks(parts: ExtractionParts): Promise<SelfTestRow[]> {
  const images = shapePictures({ ...PICTURES, seed: 31, shape: 'disc' });
  const features = await extract(parts, images);
  return [
    await orderCheck(parts, images, features),
    ...(await batchChecks(parts, images, features)),
    await pngCheck(parts, images, features),
    await floorCheck(parts, features),
  ];
}

function extract({ extractor, spec }: ExtractionParts, images: Images, batchSize?: number): Promise<Features> {
  return extractFeatures({ extractor, spec, images, ...(batchSize === undefined ? {} : { batchSize }) });
}

/** Every picture among other neighbours, at another place of its batch. */
async function orderCheck(parts: ExtractionParts, images: Images, features: Features): Promise<SelfTestRow> {
  const turned = await extract(parts, turnedRows(images));
  return selfTestRow(
    'features of pictures in another order are the same, to the bit',
    worstDifference({ ...turned, pool: turnedRows(turned.pool) }, features),
    0,
  );
}

async function batchChecks(parts: ExtractionParts, images: Images, features: Features): Promise<SelfTestRow[]> {
  const rows: SelfTestRow[] = [];
  for (const batch of OTHER_BATCHES) {
    const other = await extract(parts, images, batch);
    const name = `features in batches of ${batch} are those in batches of ${batchSizeOf(parts.spec)}`;
    rows.push(selfTestRow(name, worstDifference(other, features) / largest(features.pool), BATCH_RELATIVE));
  }
  return rows;
}

async function pngCheck(parts: ExtractionParts, images: Images, features: Features): Promise<SelfTestRow> {
  const read = await extract(parts, await parts.throughPng(images));
  return selfTestRow(
    'features of pictures that went through PNG files are the same, to the bit',
    worstDifference(read, features),
    0,
  );
}

/** Half against half, beside pictures of another kind: a distance that cannot tell those is broken. */
async function floorCheck(parts: ExtractionParts, { pool }: Features): Promise<SelfTestRow> {
  const half = PICTURES.n / 2;
  const other = await extract(parts, shapePictures({ ...PICTURES, n: half, seed: 32, shape: 'bar' }));
  const metric = metricById(parts.metrics, 'frechet');
  const distance = async (a: Float32Tensor, b: Float32Tensor): Promise<number> =>
    numberOf(await metric.compute(rowsInMemory(a), rowsInMemory(b), parts.context), 'frechet');
  const [first, second] = [sliceRows(pool, 0, half), sliceRows(pool, half, 2 * half)];
  const floor = await distance(first, second);
  return selfTestRow(
    `halves of a set (n = ${half} each) are nearer to each other than to other pictures, by this factor`,
    floor / (await distance(first, other.pool)),
    FLOOR_SHARE,
  );
}

/** Rows from the last to the first. */
function turnedRows<T extends 'float32' | 'uint8'>(
  value: Parameters<typeof sliceRows<T>>[0],
): ReturnType<typeof sliceRows<T>> {
  const n = value.dims[0] ?? 0;
  return concatRows(Array.from({ length: n }, (_, i) => sliceRows(value, n - 1 - i, n - i)));
}

function worstDifference(a: Pick<Features, 'pool'>, b: Pick<Features, 'pool'>): number {
  return a.pool.data.reduce((worst, value, i) => Math.max(worst, Math.abs(value - (b.pool.data[i] as number))), 0);
}

function largest({ data }: Float32Tensor): number {
  return data.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
}
