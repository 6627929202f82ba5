import { NibbleflowError } from '../../contracts/errors.js';
import type { ByteSource } from './byte-source.js';
import { quoted } from './quoted.js';

/**
 * The central directory of a zip archive, also of the 64-bit kind: what lies in it and where.
 * PKWARE APPNOTE 6.3.10, sections 4.3.12 (directory), 4.3.14 to 4.3.16 (ends), 4.5.3 (64-bit sizes).
 */

/** One file of an archive. */
export interface ZipEntry {
  readonly name: string;
  /** 0: stored, 8: deflated. */
  readonly method: number;
  readonly compressedSize: number;
  readonly size: number;
  readonly crc32: number;
  /** Where its local header starts. */
  readonly offset: number;
}

const DIRECTORY_ENTRY = 0x02014b50;
const DIRECTORY_ENTRY_SIZE = 46;
const END = 0x06054b50;
const END_SIZE = 22;
const END64 = 0x06064b50;
const END64_SIZE = 56;
const LOCATOR64 = 0x07064b50;
const LOCATOR64_SIZE = 20;
const LONGEST_COMMENT = 0xffff;
const ENCRYPTED = 1;
const SIZES_64_BIT = 1;

/** More than any archive of weights or arrays has; a file that says more is refused before it is believed. */
const MOST_ENTRIES = 100_000;
const LARGEST_DIRECTORY = 64 * 2 ** 20;

/** True when the file starts as zip archives do. */
export function looksLikeZip(head: Uint8Array): boolean {
  return head[0] === 0x50 && head[1] === 0x4b && ((head[2] === 3 && head[3] === 4) || (head[2] === 5 && head[3] === 6));
}

/**
 * The entries of an archive by name. Only the directory at the end is read.
 * @param where the file, for messages
 * @throws NibbleflowError InvalidInput for files that are no zip archive, truncated, encrypted, in several parts, or that say
 *   impossible things about themselves.
 */
export async function readZipDirectory(source: ByteSource, where?: string): Promise<ReadonlyMap<string, ZipEntry>> {
  const { start, size, count } = await findDirectory(source, where);
  if (count > MOST_ENTRIES || size > LARGEST_DIRECTORY) throw invalidZip(`says that it holds ${count} files`, where);
  if (start + size > source.size) throw invalidZip('is truncated: its list of files is missing', where);
  const bytes = await source.read(start, start + size);
  const entries = new Map<string, ZipEntry>();
  let at = 0;
  for (let index = 0; index < count; index += 1) {
    const { entry, end } = readEntry(bytes, at, where);
    if (entries.has(entry.name)) throw invalidZip(`holds two files called ${quoted(entry.name)}`, where);
    if (entry.offset + entry.compressedSize > source.size) {
      throw invalidZip(`is truncated: ${quoted(entry.name)} lies outside it`, where);
    }
    entries.set(entry.name, entry);
    at = end;
  }
  return entries;
}

interface DirectoryPlace {
  readonly start: number;
  readonly size: number;
  readonly count: number;
}

async function findDirectory(source: ByteSource, where?: string): Promise<DirectoryPlace> {
  const tailStart = Math.max(0, source.size - END_SIZE - LONGEST_COMMENT - LOCATOR64_SIZE);
  const view = viewOf(await source.read(tailStart, source.size));
  for (let at = view.byteLength - END_SIZE; at >= 0; at -= 1) {
    if (view.getUint32(at, true) !== END || at + END_SIZE + view.getUint16(at + 20, true) > view.byteLength) continue;
    const locator = at - LOCATOR64_SIZE;
    if (locator >= 0 && view.getUint32(locator, true) === LOCATOR64) {
      return await readEnd64(source, safeInteger(view, locator + 8, where), where);
    }
    if (view.getUint16(at + 4, true) !== 0) throw invalidZip('is a part of an archive in several files', where);
    return {
      count: view.getUint16(at + 10, true),
      size: view.getUint32(at + 12, true),
      start: view.getUint32(at + 16, true),
    };
  }
  throw invalidZip('is no zip archive, or its end is missing', where);
}

async function readEnd64(source: ByteSource, offset: number, where?: string): Promise<DirectoryPlace> {
  if (offset + END64_SIZE > source.size) throw invalidZip('is truncated', where);
  const view = viewOf(await source.read(offset, offset + END64_SIZE));
  if (view.getUint32(0, true) !== END64) throw invalidZip('has a broken end', where);
  return {
    count: safeInteger(view, 32, where),
    size: safeInteger(view, 40, where),
    start: safeInteger(view, 48, where),
  };
}

function readEntry(bytes: Uint8Array, at: number, where?: string): { entry: ZipEntry; end: number } {
  const view = viewOf(bytes);
  if (at + DIRECTORY_ENTRY_SIZE > bytes.byteLength || view.getUint32(at, true) !== DIRECTORY_ENTRY) {
    throw invalidZip('has a broken list of files', where);
  }
  const nameEnd = at + DIRECTORY_ENTRY_SIZE + view.getUint16(at + 28, true);
  const extraEnd = nameEnd + view.getUint16(at + 30, true);
  const end = extraEnd + view.getUint16(at + 32, true);
  if (end > bytes.byteLength) throw invalidZip('has a broken list of files', where);
  const name = new TextDecoder().decode(bytes.subarray(at + DIRECTORY_ENTRY_SIZE, nameEnd));
  if ((view.getUint16(at + 8, true) & ENCRYPTED) !== 0) throw invalidZip(`is encrypted (${quoted(name)})`, where);
  const sizes = [view.getUint32(at + 24, true), view.getUint32(at + 20, true), view.getUint32(at + 42, true)];
  const [size = 0, compressedSize = 0, offset = 0] = withWideSizes(sizes, bytes.subarray(nameEnd, extraEnd), where);
  const method = view.getUint16(at + 10, true);
  return { entry: { name, method, compressedSize, size, crc32: view.getUint32(at + 16, true), offset }, end };
}

/** Size, compressed size and offset; those that do not fit 32 bits stand in the extra field, in this order. */
function withWideSizes(values: readonly number[], extra: Uint8Array, where?: string): number[] {
  const view = viewOf(extra);
  let at = wideField(view);
  return values.map((value) => {
    if (value !== 0xffffffff || at === undefined) return value;
    if (at + 8 > extra.byteLength) throw invalidZip('has a broken list of files', where);
    const wide = safeInteger(view, at, where);
    at += 8;
    return wide;
  });
}

/** Where the data of the extra field with 64-bit sizes starts. */
function wideField(view: DataView): number | undefined {
  for (let at = 0; at + 4 <= view.byteLength; at += 4 + view.getUint16(at + 2, true)) {
    if (view.getUint16(at, true) === SIZES_64_BIT) return at + 4;
  }
  return undefined;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function safeInteger(view: DataView, at: number, where?: string): number {
  const value = Number(view.getBigUint64(at, true));
  if (!Number.isSafeInteger(value)) throw invalidZip('says impossible sizes', where);
  return value;
}

/** InvalidInput about an archive; `what` continues "The archive …". */
export function invalidZip(what: string, where?: string): NibbleflowError {
  return new NibbleflowError('InvalidInput', `The archive ${what}`, { where, fix: 'Copy or download it again.' });
}
