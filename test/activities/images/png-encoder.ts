import { crc32, deflateSync } from 'node:zlib';

export interface PngOptions {
  readonly width: number;
  readonly height: number;
  /** Another size for the header than the rows have. */
  readonly declared?: { readonly width: number; readonly height: number };
  readonly bitDepth?: 1 | 2 | 4 | 8 | 16;
  /** 0 grey, 2 RGB, 3 palette, 4 grey + alpha, 6 RGBA. */
  readonly colorType?: 0 | 2 | 3 | 4 | 6;
  /** Between IHDR and IDAT: PLTE, tRNS, gAMA, iCCP … */
  readonly chunks?: readonly (readonly [type: string, data: Uint8Array])[];
}

/** A PNG file made by hand, so that what decoders should find in it is known: `samples` are the bytes of all rows. */
export function encodePng(samples: Uint8Array, options: PngOptions): Buffer {
  const { height, declared = options, bitDepth = 8, colorType = 2, chunks = [] } = options;
  const header = Buffer.alloc(13);
  header.writeUInt32BE(declared.width, 0);
  header.writeUInt32BE(declared.height, 4);
  header.writeUInt8(bitDepth, 8);
  header.writeUInt8(colorType, 9);
  const stride = samples.length / height;
  const rows = Buffer.concat(
    Array.from({ length: height }, (_, row) =>
      Buffer.concat([Buffer.of(0), samples.subarray(row * stride, (row + 1) * stride)]),
    ),
  );
  return Buffer.concat([
    Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]),
    chunk('IHDR', header),
    ...chunks.map(([type, data]) => chunk(type, data)),
    chunk('IDAT', deflateSync(rows)),
    chunk('IEND', Buffer.alloc(0)),
  ]);
}

/** The data of the first chunk of a type. */
export function pngChunk(file: Buffer, wanted: string): Buffer {
  for (let at = 8; at < file.length; ) {
    const length = file.readUInt32BE(at);
    if (file.toString('latin1', at + 4, at + 8) === wanted) return file.subarray(at + 8, at + 8 + length);
    at += 12 + length;
  }
  throw new Error(`no ${wanted} chunk`);
}

function chunk(type: string, data: Uint8Array): Buffer {
  const named = Buffer.concat([Buffer.from(type, 'latin1'), data]);
  const result = Buffer.alloc(named.length + 8);
  result.writeUInt32BE(data.length, 0);
  named.copy(result, 4);
  result.writeUInt32BE(crc32(named), 4 + named.length);
  return result;
}
