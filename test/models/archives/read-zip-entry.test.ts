import { deflateRawSync } from 'node:zlib';
import fc from 'fast-check';
import { zipSync } from 'fflate';
import { describe, expect, it } from 'vitest';
import { NibbleflowError } from '../../../contracts/errors.js';
import { sourceOfBytes } from '../../../models/archives/byte-source.js';
import { crc32 } from '../../../models/archives/crc32.js';
import { readZipEntry } from '../../../models/archives/read-zip-entry.js';
import { readZipDirectory, type ZipEntry } from '../../../models/archives/zip-directory.js';

const TEXT = new TextEncoder().encode('a nibble is four bits. '.repeat(5000));
const FILES = { 'small.txt': Uint8Array.of(1, 2, 3), 'folder/text': TEXT, empty: new Uint8Array(0) };
const MTIME = '2020-01-01';

/** Every file of an archive. */
async function unzip(bytes: Uint8Array): Promise<Map<string, Uint8Array>> {
  const source = sourceOfBytes(bytes);
  const result = new Map<string, Uint8Array>();
  for (const [name, entry] of await readZipDirectory(source, 'the.zip')) {
    result.set(name, await readZipEntry(source, entry, { where: 'the.zip' }));
  }
  return result;
}

/** One file stored by hand, in the 64-bit form when asked, with whatever is said about it. */
function archiveOf(data: Uint8Array, said: Partial<ZipEntry> & { wide?: boolean } = {}): Uint8Array {
  const entry = { name: 'x', method: 8, compressedSize: data.length, size: 0, crc32: 0, offset: 0, ...said };
  const wide = said.wide ?? false;
  const local = Buffer.alloc(31);
  local.writeUInt32LE(0x04034b50);
  local.writeUInt16LE(1, 26);
  local.write(entry.name, 30);
  const central = Buffer.alloc(47 + (wide ? 28 : 0));
  central.writeUInt32LE(0x02014b50);
  central.writeUInt16LE(entry.method, 10);
  central.writeUInt32LE(entry.crc32, 16);
  const sizes = [
    [20, entry.compressedSize, 59],
    [24, entry.size, 51],
    [42, entry.offset, 67],
  ] as const;
  for (const [at, value, wideAt] of sizes) {
    central.writeUInt32LE(wide ? 0xffffffff : value, at);
    if (wide) central.writeBigUInt64LE(BigInt(value), wideAt);
  }
  central.writeUInt16LE(1, 28);
  central.write(entry.name, 46);
  if (wide) {
    central.writeUInt16LE(28, 30);
    central.writeUInt16LE(1, 47);
    central.writeUInt16LE(24, 49);
  }
  const start = local.length + data.length;
  return Buffer.concat([local, data, central, wide ? wideEnd(start, central.length) : end(start, central.length)]);
}

function end(start: number, size: number, count = 1): Buffer {
  const result = Buffer.alloc(22);
  result.writeUInt32LE(0x06054b50);
  result.writeUInt16LE(count, 10);
  result.writeUInt32LE(size, 12);
  result.writeUInt32LE(start, 16);
  return result;
}

function wideEnd(start: number, size: number): Buffer {
  const result = Buffer.alloc(56 + 20);
  result.writeUInt32LE(0x06064b50);
  result.writeBigUInt64LE(1n, 32);
  result.writeBigUInt64LE(BigInt(size), 40);
  result.writeBigUInt64LE(BigInt(start), 48);
  result.writeUInt32LE(0x07064b50, 56);
  result.writeBigUInt64LE(BigInt(start + size), 64);
  return Buffer.concat([result, end(0xffffffff, 0xffffffff, 0xffff)]);
}

describe('zip archives', () => {
  it.each([
    ['stored', 0],
    ['deflated', 9],
  ] as const)('are read back, %s', async (_, level) => {
    const files = await unzip(zipSync(FILES, { level, mtime: MTIME }));
    expect([...files.keys()].sort()).toEqual(Object.keys(FILES).sort());
    for (const [name, bytes] of Object.entries(FILES)) expect(Buffer.compare(files.get(name) as Buffer, bytes)).toBe(0);
  });

  it('are read with a comment at their end', async () => {
    const bytes = Buffer.concat([zipSync(FILES, { level: 0, mtime: MTIME }), Buffer.from('hello')]);
    bytes.writeUInt16LE(5, bytes.length - 7);
    expect((await unzip(bytes)).size).toBe(3);
  });

  it('are read in the 64-bit form that torch and numpy write', async () => {
    const packed = deflateRawSync(TEXT);
    const files = await unzip(archiveOf(packed, { size: TEXT.length, crc32: crc32(TEXT), wide: true }));
    expect(Buffer.compare(files.get('x') as Buffer, TEXT)).toBe(0);
  });

  it('give views of stored files, without a copy', async () => {
    const bytes = zipSync({ big: new Uint8Array(1000) }, { level: 0, mtime: MTIME });
    expect((await unzip(bytes)).get('big')?.buffer).toBe(bytes.buffer);
  });

  it('have the checksum of the standard', () => {
    expect(crc32(new TextEncoder().encode('123456789'))).toBe(0xcbf43926);
  });

  const zeros = new Uint8Array(50_000_000);
  const bomb = deflateRawSync(zeros);
  const whole = zipSync(FILES, { level: 6, mtime: MTIME });
  const encrypted = Uint8Array.from(archiveOf(Uint8Array.of(1), { method: 0, size: 1 }));
  encrypted[encrypted.length - 22 - 47 + 8] = 1;

  it.each([
    ['nothing', new Uint8Array(0), /no zip archive/],
    ['a web page', new TextEncoder().encode('<!DOCTYPE html><html>not found</html>'), /no zip archive/],
    ['half an archive', whole.slice(0, whole.length / 2), /no zip archive, or its end is missing/],
    ['a list of files that lies outside', end(1000, 100), /truncated/],
    ['a list of files that is none', Buffer.concat([Buffer.alloc(60), end(0, 60)]), /broken list of files/],
    ['a bomb that tells its size', archiveOf(bomb, { size: 2 ** 31 }), /at most 1073741824 are read/],
    ['a bomb that hides its size', archiveOf(bomb, { size: 100 }), /holds more in "x" than it says/],
    ['sizes that no method reaches', archiveOf(Uint8Array.of(3, 0), { size: 1e6 }), /impossible sizes/],
    ['a stored file of another size', archiveOf(Uint8Array.of(3, 0), { method: 0, size: 1 }), /impossible sizes/],
    ['a file outside', archiveOf(Uint8Array.of(3), { method: 0, size: 1, offset: 5000 }), /outside/],
    ['a file where none is', archiveOf(Uint8Array.of(3), { method: 0, size: 1, offset: 4 }), /no file where "x"/],
    ['a method of another time', archiveOf(Uint8Array.of(3), { method: 12, size: 1 }), /method 12/],
    ['a wrong checksum', archiveOf(Uint8Array.of(3), { method: 0, size: 1, crc32: 5 }), /checksum/],
    ['damaged data', archiveOf(Uint8Array.of(7, 7, 7), { size: 3 }), /cannot be unpacked/],
    ['too little data', archiveOf(deflateRawSync(Uint8Array.of(1)), { size: 3 }), /shorter than it says/],
    ['an encrypted file', encrypted, /encrypted/],
  ])('are refused when they are %s', async (_, bytes, message) => {
    const outcome = await unzip(bytes).catch((error: unknown) => error);
    expect(outcome).toBeInstanceOf(NibbleflowError);
    expect(String(outcome)).toMatch(message);
    expect(String(outcome)).toContain('the.zip');
  });

  it('with any bytes changed are read or refused, never anything else', { timeout: 60_000 }, async () => {
    const edits = fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { minLength: 1, maxLength: 8 });
    await fc.assert(
      fc.asyncProperty(edits, fc.option(fc.nat(whole.length)), async (changes, cut) => {
        const bytes = whole.slice(0, cut ?? whole.length);
        for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
        const outcome = await unzip(bytes).catch((error: unknown) => error);
        expect(outcome instanceof Map || outcome instanceof NibbleflowError).toBe(true);
      }),
      { seed: 1, numRuns: 300 },
    );
  });
});
