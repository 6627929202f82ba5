import sharp, { type Metadata, type Sharp, type SharpInput, type SharpOptions } from 'sharp';
import type { Images } from '../../evaluation/metrics/image-pairs.js';

/**
 * One PNG or JPEG file as uint8 RGB [1, h, w, 3], as PIL's `Image.open(…).convert('RGB')` gives it:
 *   colour profiles and gAMA are not applied; EXIF does not rotate; greys and palettes become RGB.
 * What PIL would convert with a loss is refused instead: 16 bits, transparency, CMYK. An opaque alpha channel is dropped.
 * The size is read from the header first, so that a decompression bomb is never unpacked.
 */
export interface DecodedPicture {
  readonly image: Images;
  readonly remarks: readonly Remark[];
}

/** What a reader of scores must know of a picture. */
export const REMARKS = {
  lossy: 'are JPEG: scores of lossy pictures are another number than those of the pictures before they were compressed',
  damaged: 'are JPEG with damaged places, which were read over as libjpeg and Pillow do',
  grey: 'are grey and were read as RGB',
  'opaque alpha': 'have an alpha channel without transparency, which was dropped',
  profile: 'have a colour profile, which was not applied',
  rotated: 'ask to be rotated (EXIF), which was not done',
} as const;

export type Remark = keyof typeof REMARKS;

/** Why a file cannot be used: the end of a sentence that begins with its name. */
export class UnusablePicture extends Error {
  override readonly name = 'UnusablePicture';
}

/** 8,192 × 8,192. A picture takes three bytes a pixel. */
export const MOST_PIXELS = 2 ** 26;
/** Larger files are no pictures of up to MOST_PIXELS. */
export const MOST_BYTES = 2 ** 28;

const FORMATS = new Set(['png', 'jpeg']);
const OPAQUE = 255;

/** Decodes a file's bytes. Throws UnusablePicture. */
export async function decodePicture(bytes: Uint8Array): Promise<DecodedPicture> {
  if (bytes.byteLength === 0) throw new UnusablePicture('is empty (0 bytes)');
  const header = await asUnusable(() => open(bytes, { limitInputPixels: false }).metadata());
  checkHeader(header);
  const { data, info, damaged } = await pixelsOf(bytes, header);
  const { rgb, alpha } = split(data, info.width * info.height, info.channels);
  if (alpha !== null && !alpha) {
    throw new UnusablePicture(
      'has transparent pixels: put it on the background that is meant, and save it without alpha',
    );
  }
  return {
    image: { type: 'uint8', dims: [1, info.height, info.width, 3], data: rgb },
    remarks: remarksOf(header, { alpha: alpha !== null, damaged }),
  };
}

interface Pixels {
  readonly data: Uint8Array;
  readonly info: { readonly width: number; readonly height: number; readonly channels: number };
  readonly damaged: boolean;
}

/** Of a JPEG that libjpeg only warns of, what Pillow reads too; one that ends early is refused by both. */
async function pixelsOf(bytes: Uint8Array, { format }: Metadata): Promise<Pixels> {
  const decoded = async (failOn: 'warning' | 'error') =>
    open(bytes, { ignoreIcc: true, failOn, limitInputPixels: MOST_PIXELS }).raw().toBuffer({ resolveWithObject: true });
  if (format !== 'jpeg') return { ...(await asUnusable(() => decoded('warning'))), damaged: false };
  try {
    return { ...(await decoded('warning')), damaged: false };
  } catch {
    return { ...(await asUnusable(() => decoded('error'))), damaged: true };
  }
}

function open(bytes: Uint8Array, options: SharpOptions): Sharp {
  return sharp(bytes as SharpInput, options);
}

async function asUnusable<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    // libjpeg says the same of every scan
    const reasons = new Set(
      (error as Error).message
        .split('\n')
        .map((line) => line.trim())
        .filter((line) => line !== ''),
    );
    const reason = [...reasons].join(', ');
    throw new UnusablePicture(`is damaged or not a picture (${reason})`);
  }
}

function checkHeader({ format, width, height, depth, space, bitsPerSample }: Metadata): void {
  if (!FORMATS.has(format)) throw new UnusablePicture(`is a ${format} file; PNG and JPEG files are read`);
  if (width * height > MOST_PIXELS) {
    throw new UnusablePicture(`would have ${width} × ${height} pixels; up to ${MOST_PIXELS} are read`);
  }
  if (depth !== 'uchar' || (bitsPerSample ?? 8) > 8) {
    throw new UnusablePicture('has 16 bits per channel: save it with 8, as the pictures it is compared with');
  }
  if (space === 'cmyk') throw new UnusablePicture('is in CMYK: save it as RGB');
}

/** RGB of interleaved pixels with 1 to 4 channels; `alpha` is null without one, else whether every pixel is opaque. */
function split(data: Uint8Array, pixels: number, channels: number): { rgb: Uint8Array; alpha: boolean | null } {
  const hasAlpha = channels === 2 || channels === 4;
  if (channels === 3) return { rgb: new Uint8Array(data), alpha: null };
  const rgb = new Uint8Array(pixels * 3);
  let opaque = true;
  for (let pixel = 0; pixel < pixels; pixel += 1) {
    const source = pixel * channels;
    for (let channel = 0; channel < 3; channel += 1) {
      rgb[pixel * 3 + channel] = data[source + (channels < 3 ? 0 : channel)] as number;
    }
    if (hasAlpha && data[source + channels - 1] !== OPAQUE) opaque = false;
  }
  return { rgb, alpha: hasAlpha ? opaque : null };
}

function remarksOf(
  { format, channels, hasProfile, orientation }: Metadata,
  { alpha, damaged }: { readonly alpha: boolean; readonly damaged: boolean },
): Remark[] {
  const found: Record<Remark, boolean> = {
    lossy: format === 'jpeg',
    damaged,
    grey: channels < 3,
    'opaque alpha': alpha,
    profile: hasProfile,
    rotated: (orientation ?? 1) > 1,
  };
  return (Object.keys(REMARKS) as Remark[]).filter((remark) => found[remark]);
}
