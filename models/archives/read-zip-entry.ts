import { Inflate } from 'fflate';
import { NibbleflowError } from '../../contracts/errors.js';
import type { ByteSource } from './byte-source.js';
import { crc32 } from './crc32.js';
import { quoted } from './quoted.js';
import { invalidZip, type ZipEntry } from './zip-directory.js';

const LOCAL_HEADER = 0x04034b50;
const LOCAL_HEADER_SIZE = 30;
const STORED = 0;
const DEFLATED = 8;

/** Input is inflated in pieces of this size, each at most 1032 times as long when inflated: a bomb is noticed after 17 MB. */
const PIECE = 16 * 1024;
/** Deflate cannot shrink more than this (258 bytes from 2 bits, with its trees); an entry that claims more is a lie. */
const BEST_RATIO = 1032;

export interface ReadZipEntryOptions {
  /** The archive, for messages. */
  readonly where?: string;
  /** Larger entries are refused before anything is read; default 1 GiB. */
  readonly maxBytes?: number;
}

/**
 * The bytes of one file of an archive, stored or deflated; its size and checksum are verified. Stored bytes are a view where
 * the source gives one.
 * @throws NibbleflowError InvalidInput for other methods, entries that are too large, truncated or damaged, and bombs
 */
export async function readZipEntry(
  source: ByteSource,
  entry: ZipEntry,
  { where, maxBytes = 2 ** 30 }: ReadZipEntryOptions = {},
): Promise<Uint8Array> {
  const { name, method, size, compressedSize } = entry;
  if (size > maxBytes) throw invalidZip(`holds ${size} bytes in ${quoted(name)}, at most ${maxBytes} are read`, where);
  if (method !== STORED && method !== DEFLATED) {
    throw invalidZip(`packs ${quoted(name)} with method ${method}; stored and deflated files are read`, where);
  }
  const possible = method === STORED ? size === compressedSize : size <= compressedSize * BEST_RATIO;
  if (!possible) throw invalidZip(`says impossible sizes of ${quoted(name)}`, where);
  const packed = await readPacked(source, entry, where);
  const bytes = method === STORED ? packed : inflated(packed, entry, where);
  if (crc32(bytes) !== entry.crc32) throw invalidZip(`is damaged: the checksum of ${quoted(name)} is wrong`, where);
  return bytes;
}

async function readPacked(source: ByteSource, entry: ZipEntry, where?: string): Promise<Uint8Array> {
  const { name, offset, compressedSize } = entry;
  if (offset + LOCAL_HEADER_SIZE > source.size) throw invalidZip(`is truncated before ${quoted(name)}`, where);
  const head = await source.read(offset, offset + LOCAL_HEADER_SIZE);
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  if (view.getUint32(0, true) !== LOCAL_HEADER) throw invalidZip(`has no file where ${quoted(name)} should be`, where);
  const start = offset + LOCAL_HEADER_SIZE + view.getUint16(26, true) + view.getUint16(28, true);
  if (start + compressedSize > source.size) throw invalidZip(`is truncated within ${quoted(name)}`, where);
  return await source.read(start, start + compressedSize);
}

function inflated(packed: Uint8Array, { name, size }: ZipEntry, where?: string): Uint8Array {
  const result = new Uint8Array(size);
  let length = 0;
  const inflate = new Inflate((chunk) => {
    if (length + chunk.byteLength > size) throw invalidZip(`holds more in ${quoted(name)} than it says`, where);
    result.set(chunk, length);
    length += chunk.byteLength;
  });
  try {
    for (let at = 0; at < packed.byteLength; at += PIECE) {
      inflate.push(packed.subarray(at, at + PIECE), at + PIECE >= packed.byteLength);
    }
  } catch (error) {
    if (error instanceof NibbleflowError) throw error;
    throw invalidZip(`is damaged: ${quoted(name)} cannot be unpacked`, where);
  }
  if (length !== size) throw invalidZip(`is damaged: ${quoted(name)} is shorter than it says`, where);
  return result;
}
