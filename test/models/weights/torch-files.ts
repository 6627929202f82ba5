import { zipSync } from 'fflate';

/** Pickles and torch files written by hand, the honest and the hostile. */

type Part = number | string | readonly Part[];

/** Bytes of opcodes (numbers) and texts. */
export function opcodes(...parts: readonly Part[]): number[] {
  return parts.flatMap((part) =>
    typeof part === 'number' ? [part] : typeof part === 'string' ? [...Buffer.from(part)] : opcodes(...part),
  );
}

const uint32 = (value: number): number[] => [value & 255, (value >>> 8) & 255, (value >>> 16) & 255, value >>> 24];
/** BINUNICODE */
export const text = (value: string): number[] => [0x58, ...uint32(Buffer.byteLength(value)), ...Buffer.from(value)];
/** BININT, or LONG1 beyond 32 bits */
export const integer = (value: number): number[] => {
  if (value === (value | 0)) return [0x4a, ...uint32(value >>> 0)];
  const bytes = Buffer.alloc(8);
  bytes.writeBigInt64LE(BigInt(value));
  return [0x8a, 8, ...bytes];
};
export const tuple = (...items: readonly number[][]): number[] => [0x28, ...items.flat(), 0x74];
export const global = (module: string, name: string): number[] => opcodes('c', module, '\n', name, '\n');
export const dict = (...pairs: readonly (readonly [string, number[]])[]): number[] => [
  0x7d,
  0x28,
  ...pairs.flatMap(([key, value]) => [...text(key), ...value]),
  0x75,
];
export const pickle = (...value: readonly number[][]): number[] => [0x80, 2, ...value.flat(), 0x2e];

export interface WrittenTensor {
  readonly dims: readonly number[];
  readonly strides: readonly number[];
  readonly offset?: number;
  readonly key?: string;
  readonly type?: string;
  readonly length: number;
}

/** A call of torch._utils._rebuild_tensor_v2. */
export function tensorCall({
  dims,
  strides,
  offset = 0,
  key = '0',
  type = 'FloatStorage',
  length,
}: WrittenTensor): number[] {
  const storage = [...tuple(text('storage'), global('torch', type), text(key), text('cpu'), integer(length)), 0x51];
  const args = tuple(
    storage,
    integer(offset),
    tuple(...dims.map(integer)),
    tuple(...strides.map(integer)),
    [0x89],
    [...global('collections', 'OrderedDict'), 0x29, 0x52],
  );
  return [...global('torch._utils', '_rebuild_tensor_v2'), ...args, 0x52];
}

/** A file as torch ≥ 1.6 writes it. */
export function torchArchive(
  pickled: readonly number[],
  storages: Readonly<Record<string, Uint8Array>> = {},
  more: Readonly<Record<string, Uint8Array>> = {},
): Uint8Array {
  const files: Record<string, Uint8Array> = { 'm/data.pkl': Uint8Array.from(pickled) };
  for (const [key, bytes] of Object.entries(storages)) files[`m/data/${key}`] = bytes;
  for (const [name, bytes] of Object.entries(more)) files[`m/${name}`] = bytes;
  return zipSync(files, { level: 0, mtime: '2020-01-01' });
}

export const floats = (...values: readonly number[]): Uint8Array => new Uint8Array(Float32Array.from(values).buffer);

/** A state dict of contiguous float32 tensors as torch ≥ 1.6 writes it. */
export function stateDictFile(
  tensors: ReadonlyMap<string, { readonly dims: readonly number[]; readonly data: Float32Array }>,
): Uint8Array {
  const storages: Record<string, Uint8Array> = {};
  const pairs = [...tensors].map(([name, { dims, data }], index) => {
    storages[index] = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    const strides = dims.map((_, axis) => dims.slice(axis + 1).reduce((product, dim) => product * dim, 1));
    return [name, tensorCall({ dims, strides, key: String(index), length: data.length })] as const;
  });
  return torchArchive(pickle(dict(...pairs)), storages);
}
