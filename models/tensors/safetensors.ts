import { NibbleflowError } from '../../contracts/errors.js';
import {
  bytesFromTensor,
  dataFromBytes,
  type ElementType,
  elementCount,
  elementSizeBytes,
  type Tensor,
  tensor,
} from './tensor.js';

/**
 * The safetensors format: u64 header length, JSON header, data. https://github.com/huggingface/safetensors#format
 * Written files have the tensors sorted by element size (large first), then by name, so that equal tensors always give
 * equal bytes and every tensor is aligned to its element size.
 */

const DTYPES: Readonly<Record<ElementType, string>> = {
  float32: 'F32',
  float64: 'F64',
  float16: 'F16',
  int64: 'I64',
  uint64: 'U64',
  int32: 'I32',
  uint32: 'U32',
  int16: 'I16',
  uint16: 'U16',
  int8: 'I8',
  uint8: 'U8',
  bool: 'BOOL',
};

const HEADER_ALIGNMENT = 8;

export interface Safetensors {
  readonly tensors: Map<string, Tensor>;
  readonly metadata: Record<string, string>;
}

/**
 * Reads all tensors; their data are views of `bytes` where aligned.
 * @throws NibbleflowError InvalidInput for files that are truncated, overlap, or have element types without a tensor.
 */
export function readSafetensors(bytes: Uint8Array): Safetensors {
  const { header, data } = splitHeader(bytes);
  const tensors = new Map<string, Tensor>();
  for (const [name, entry] of Object.entries(header)) {
    if (name !== '__metadata__') tensors.set(name, readEntry(name, entry, data));
  }
  return { tensors, metadata: metadataOf(header) };
}

function metadataOf(header: Readonly<Record<string, unknown>>): Record<string, string> {
  return Object.fromEntries(Object.entries(header.__metadata__ ?? {}).map(([key, value]) => [key, String(value)]));
}

/** Where a tensor lies in a file: bytes [start, end) from its beginning. */
export interface SafetensorsEntry {
  readonly type: ElementType;
  readonly dims: readonly number[];
  readonly start: number;
  readonly end: number;
}

/**
 * What a file holds and where, without its data. `read` gives the bytes [start, end) of the file.
 * @throws NibbleflowError InvalidInput for a header that is truncated or broken.
 */
export async function readSafetensorsHeader(
  read: (start: number, end: number) => Promise<Uint8Array>,
): Promise<{ entries: Map<string, SafetensorsEntry>; metadata: Record<string, string> }> {
  const head = await read(0, 8);
  if (head.byteLength < 8) throw invalidFile('is too short');
  const length = Number(new DataView(head.buffer, head.byteOffset, 8).getBigUint64(0, true));
  const { header } = splitHeader(await read(0, 8 + length));
  const entries = new Map<string, SafetensorsEntry>();
  for (const [name, entry] of Object.entries(header)) {
    if (name === '__metadata__') continue;
    const { type, shape, start, end } = checkedEntry(name, entry);
    entries.set(name, { type, dims: shape, start: 8 + length + start, end: 8 + length + end });
  }
  return { entries, metadata: metadataOf(header) };
}

/**
 * A safetensors file piece by piece: the header, then the bytes of each tensor as they are, without a copy. Tensors are
 * ordered by element size, then name, so that equal contents give equal bytes.
 */
export function* safetensorsChunks(
  tensors: ReadonlyMap<string, Tensor>,
  metadata: Readonly<Record<string, string>> = {},
): Generator<Uint8Array> {
  const { head, order } = safetensorsHead(tensors, metadata);
  yield head;
  for (const name of order) yield bytesFromTensor(tensors.get(name) as Tensor);
}

/**
 * The header of a file whose data the caller writes behind it, tensor by tensor in the given `order` and without gaps: for
 * tensors that do not fit into memory.
 */
export function safetensorsHead(
  tensors: ReadonlyMap<string, Pick<Tensor, 'type' | 'dims'>>,
  metadata: Readonly<Record<string, string>> = {},
): { readonly head: Uint8Array; readonly order: readonly string[] } {
  const entries = [...tensors].sort(
    ([nameA, a], [nameB, b]) => elementSizeBytes(b.type) - elementSizeBytes(a.type) || compare(nameA, nameB),
  );
  const header: Record<string, unknown> = {};
  const keys = Object.keys(metadata).sort(compare);
  if (keys.length > 0) header.__metadata__ = Object.fromEntries(keys.map((key) => [key, metadata[key]]));
  let offset = 0;
  for (const [name, { type, dims }] of entries) {
    const end = offset + elementCount(dims) * elementSizeBytes(type);
    header[name] = { dtype: DTYPES[type], shape: dims, data_offsets: [offset, end] };
    offset = end;
  }
  const json = new TextEncoder().encode(JSON.stringify(header));
  const headerLength = Math.ceil(json.byteLength / HEADER_ALIGNMENT) * HEADER_ALIGNMENT;
  const head = new Uint8Array(8 + headerLength).fill(0x20);
  new DataView(head.buffer).setBigUint64(0, BigInt(headerLength), true);
  head.set(json, 8);
  return { head, order: entries.map(([name]) => name) };
}

/** The whole file of `safetensorsChunks` in one array. */
export function writeSafetensors(
  tensors: ReadonlyMap<string, Tensor>,
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array {
  const chunks = [...safetensorsChunks(tensors, metadata)];
  const result = new Uint8Array(chunks.reduce((sum, chunk) => sum + chunk.byteLength, 0));
  let offset = 0;
  for (const chunk of chunks) {
    result.set(chunk, offset);
    offset += chunk.byteLength;
  }
  return result;
}

/** Code unit order: the same on every machine, unlike locale order. */
function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function splitHeader(bytes: Uint8Array): { header: Record<string, unknown>; data: Uint8Array } {
  if (bytes.byteLength < 8) throw invalidFile('is too short');
  const length = Number(new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0, true));
  if (length > bytes.byteLength - 8) throw invalidFile('ends within its header');
  try {
    const header: unknown = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length)));
    if (typeof header !== 'object' || header === null || Array.isArray(header))
      throw invalidFile('has no header object');
    return { header: header as Record<string, unknown>, data: bytes.subarray(8 + length) };
  } catch (cause) {
    if (cause instanceof NibbleflowError) throw cause;
    throw invalidFile('has a header that is not JSON');
  }
}

function readEntry(name: string, entry: unknown, data: Uint8Array): Tensor {
  const { type, shape, start, end } = checkedEntry(name, entry);
  if (end > data.byteLength) throw invalidFile(`is truncated or broken at tensor "${name}"`);
  return tensor(type, shape, dataFromBytes(type, data.subarray(start, end)));
}

/** An entry of the header; `start` and `end` count from the end of the header. */
function checkedEntry(
  name: string,
  entry: unknown,
): { type: ElementType; shape: readonly number[]; start: number; end: number } {
  const {
    dtype,
    shape,
    data_offsets: offsets,
  } = (entry ?? {}) as { dtype?: unknown; shape?: unknown; data_offsets?: unknown };
  const type = (Object.keys(DTYPES) as ElementType[]).find((candidate) => DTYPES[candidate] === dtype);
  if (type === undefined) throw invalidFile(`has tensor "${name}" of the element type ${String(dtype)}`);
  if (!isByteNumbers(shape) || !isByteNumbers(offsets) || offsets.length !== 2) {
    throw invalidFile(`has a broken entry for tensor "${name}"`);
  }
  const [start = 0, end = 0] = offsets;
  if (end - start !== elementCount(shape) * elementSizeBytes(type)) {
    throw invalidFile(`is truncated or broken at tensor "${name}"`);
  }
  return { type, shape, start, end };
}

function isByteNumbers(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((one) => Number.isSafeInteger(one) && one >= 0);
}

function invalidFile(what: string): NibbleflowError {
  return new NibbleflowError('InvalidInput', `The safetensors file ${what}`, { fix: 'Copy or download it again.' });
}
