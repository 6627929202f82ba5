import { z } from 'zod';
import { NibbleflowError } from '../../contracts/errors.js';
import type { ByteSource } from '../../models/archives/byte-source.js';
import { readSafetensorsHeader, type SafetensorsEntry, safetensorsHead } from '../../models/tensors/safetensors.js';
import { bytesFromTensor, dataFromBytes, type Tensor, tensor } from '../../models/tensors/tensor.js';
import type { FeatureRows, FeatureSet } from '../features/feature-set.js';
import {
  checkedGaussian,
  type FeatureGaussian,
  type ReferenceStatistics,
  type StatisticsProvenance,
} from './reference-statistics.js';

/**
 * nibbleflow's own statistics files: safetensors with `mean` [d] and `covariance` [d, d] (float64), `spatial_mean` and
 * `spatial_covariance` where there is a spatial map, and the origin in the metadata. Files with rows also hold `pool`,
 * `logits`, `spatial` ([n, …] float32, canonical order) and `keys` [n, 32], the sha256 of each picture.
 */
const FORMAT = 'nibbleflow-statistics';
const SCHEMA_VERSION = 2;
const KEY_BYTES = 32;
/** Rows are read and written in pieces of about this size. */
const PIECE_BYTES = 8 * 2 ** 20;
/** A header larger than this is no header of statistics. */
const LARGEST_HEADER = 2 ** 20;

const sha256 = z.string().regex(/^[0-9a-f]{64}$/);

const metadataSchema = z.object({
  n: z.string().regex(/^[1-9]\d{0,8}$/),
  extractor: z.string().min(1),
  extractorSha256: sha256,
  resize: z.enum(['extractor', 'clean', 'legacy']),
  pictures: sha256,
  protocol: sha256,
  nibbleflow: z.string().min(1),
  notes: z.string(),
});

/** Statistics that may be written: those of which is known how they were made. */
export interface OwnStatistics extends ReferenceStatistics {
  readonly n: number;
  readonly provenance: StatisticsProvenance;
}

const OUTPUTS = ['pool', 'logits', 'spatial'] as const;
type OutputName = (typeof OUTPUTS)[number];

/**
 * Reads a file of nibbleflow's own format. Rows stay in the source until they are asked for.
 * @throws NibbleflowError InvalidInput for other files, newer versions, and arrays that do not fit each other
 */
export async function readOwnStatistics(source: ByteSource, where?: string): Promise<OwnStatistics> {
  const { entries, metadata } = await readHeader(source, where);
  const parsed = metadataSchema.safeParse(metadata);
  if (!parsed.success) throw unusable(`its metadata is incomplete: ${z.prettifyError(parsed.error)}`, where);
  const { extractor: name, extractorSha256, resize, pictures, protocol, nibbleflow, notes } = parsed.data;
  const n = Number(parsed.data.n);
  const gaussian = async (names: readonly [string, string]): Promise<FeatureGaussian> =>
    checkedGaussian(await readTensor(names[0]), await readTensor(names[1]), names, where);
  const readTensor = async (tensorName: string): Promise<Tensor> => {
    const entry = entries.get(tensorName);
    if (entry === undefined) throw unusable(`it has no tensor "${tensorName}"`, where);
    return tensor(entry.type, entry.dims, dataFromBytes(entry.type, await source.read(entry.start, entry.end)));
  };
  const extractor = { name, sha256: extractorSha256 };
  return {
    n,
    pool: await gaussian(['mean', 'covariance']),
    spatial: entries.has('spatial_mean') ? await gaussian(['spatial_mean', 'spatial_covariance']) : null,
    provenance: { extractor, resize, pictures, protocol, nibbleflow },
    rows: entries.has('pool')
      ? await storedRows(source, entries, { n, extractor: { ...extractor, resize } }, where)
      : null,
    notes: notesOf(notes, where),
  };
}

async function readHeader(
  source: ByteSource,
  where?: string,
): Promise<{ entries: ReadonlyMap<string, SafetensorsEntry>; metadata: Readonly<Record<string, string>> }> {
  const { entries, metadata } = await readSafetensorsHeader((start, end) => {
    if (end - start > LARGEST_HEADER) throw unusable('it has no header of statistics', where);
    return source.read(start, Math.min(end, source.size));
  }).catch((error: unknown) => {
    if (!(error instanceof NibbleflowError) || where === undefined || error.where !== undefined) throw error;
    throw unusable(error.message.split('\n')[0] ?? '', where);
  });
  if (metadata.format !== FORMAT) throw unusable('it is a safetensors file, but not of statistics', where);
  if (metadata.schemaVersion !== String(SCHEMA_VERSION)) {
    const what = `it has version ${metadata.schemaVersion} of the format, known is ${SCHEMA_VERSION}`;
    throw new NibbleflowError('InvalidInput', `the statistics file cannot be used: ${what}`, {
      where,
      fix: 'Make it again with `nibbleflow stats`.',
    });
  }
  for (const { end } of entries.values()) if (end > source.size) throw unusable('it is truncated', where);
  return { entries, metadata };
}

function notesOf(text: string, where?: string): string[] {
  try {
    return z.array(z.string()).parse(JSON.parse(text));
  } catch {
    throw unusable('its notes are no list', where);
  }
}

async function storedRows(
  source: ByteSource,
  entries: ReadonlyMap<string, SafetensorsEntry>,
  { n, extractor }: { n: number; extractor: FeatureSet['extractor'] },
  where?: string,
): Promise<FeatureSet> {
  const rowsOf = (name: OutputName): FeatureRows | undefined => {
    const entry = entries.get(name);
    if (entry === undefined) return undefined;
    const [rows = 0, d = 0] = entry.dims;
    if (entry.type !== 'float32' || entry.dims.length !== 2 || rows !== n || d < 1) {
      throw unusable(`its rows "${name}" are not [${n}, d] float32`, where);
    }
    return { n, d, read: (first, end) => readRows(source, entry, d, [first, end], where) };
  };
  const pool = rowsOf('pool');
  const keys = entries.get('keys');
  const fits = keys?.type === 'uint8' && keys.dims[0] === n && keys.dims[1] === KEY_BYTES;
  if (pool === undefined || keys === undefined || !fits)
    throw unusable('it has rows without the keys of pictures', where);
  const logits = rowsOf('logits');
  const spatial = rowsOf('spatial');
  return {
    extractor,
    keys: keysFromBytes(await source.read(keys.start, keys.end)),
    pool,
    ...(logits === undefined ? {} : { logits }),
    ...(spatial === undefined ? {} : { spatial }),
  };
}

async function readRows(
  source: ByteSource,
  { start }: SafetensorsEntry,
  d: number,
  [first, end]: readonly [number, number],
  where?: string,
): Promise<Float32Array> {
  const bytes = await source.read(start + first * d * 4, start + end * d * 4);
  const rows = dataFromBytes('float32', bytes);
  if (!rows.every(Number.isFinite)) throw unusable('its rows hold numbers that are not finite', where);
  return rows;
}

/** The bytes of a file, piece by piece; rows are kept when `statistics.rows` is there. Equal statistics give equal bytes. */
export async function* ownStatisticsChunks(statistics: OwnStatistics): AsyncGenerator<Uint8Array> {
  const small = gaussianTensors(statistics);
  const rows = new Map<string, FeatureRows>();
  if (statistics.rows !== null) {
    for (const name of OUTPUTS) {
      const output = statistics.rows[name];
      if (output !== undefined) rows.set(name, output);
    }
    const keys = bytesFromKeys(statistics.rows.keys);
    small.set('keys', tensor('uint8', [statistics.rows.keys.length, KEY_BYTES], keys));
  }
  const shapes = new Map<string, Pick<Tensor, 'type' | 'dims'>>(small);
  for (const [name, { n, d }] of rows) shapes.set(name, { type: 'float32', dims: [n, d] });
  const { head, order } = safetensorsHead(shapes, metadataOf(statistics));
  yield head;
  for (const name of order) {
    const whole = small.get(name);
    if (whole !== undefined) yield bytesFromTensor(whole);
    else yield* rowChunks(rows.get(name) as FeatureRows);
  }
}

function gaussianTensors({ pool, spatial }: OwnStatistics): Map<string, Tensor> {
  const square = ({ covariance: { rows, cols, data } }: FeatureGaussian): Tensor =>
    tensor('float64', [rows, cols], data);
  const vector = ({ mean }: FeatureGaussian): Tensor => tensor('float64', [mean.length], mean);
  const tensors = new Map<string, Tensor>([
    ['mean', vector(pool)],
    ['covariance', square(pool)],
  ]);
  if (spatial !== null) tensors.set('spatial_mean', vector(spatial)).set('spatial_covariance', square(spatial));
  return tensors;
}

async function* rowChunks(rows: FeatureRows): AsyncGenerator<Uint8Array> {
  const step = Math.max(1, Math.floor(PIECE_BYTES / (rows.d * 4)));
  for (let first = 0; first < rows.n; first += step) {
    const { buffer, byteOffset, byteLength } = await rows.read(first, Math.min(rows.n, first + step));
    yield new Uint8Array(buffer, byteOffset, byteLength);
  }
}

function metadataOf({ n, provenance, notes }: OwnStatistics): z.output<typeof metadataSchema> & Record<string, string> {
  const { extractor, resize, pictures, protocol, nibbleflow } = provenance;
  return {
    format: FORMAT,
    schemaVersion: String(SCHEMA_VERSION),
    n: String(n),
    extractor: extractor.name,
    extractorSha256: extractor.sha256,
    resize,
    pictures,
    protocol,
    nibbleflow,
    notes: JSON.stringify(notes),
  };
}

function keysFromBytes(bytes: Uint8Array): string[] {
  return Array.from({ length: bytes.byteLength / KEY_BYTES }, (_, row) =>
    Array.from(bytes.subarray(row * KEY_BYTES, (row + 1) * KEY_BYTES), (byte) =>
      byte.toString(16).padStart(2, '0'),
    ).join(''),
  );
}

function bytesFromKeys(keys: readonly string[]): Uint8Array {
  const bytes = new Uint8Array(keys.length * KEY_BYTES);
  for (const [row, key] of keys.entries()) {
    for (let i = 0; i < KEY_BYTES; i += 1) {
      bytes[row * KEY_BYTES + i] = Number.parseInt(key.slice(2 * i, 2 * i + 2), 16);
    }
  }
  return bytes;
}

function unusable(what: string, where?: string): NibbleflowError {
  return new NibbleflowError('InvalidInput', `the statistics file cannot be used: ${what}`, { where });
}
