import sharp from 'sharp';
import type { ArtifactRef } from '../contracts/artifact.js';
import type { PictureSource } from '../evaluation/features/picture-source.js';
import { type Images, imageSize } from '../evaluation/metrics/image-pairs.js';
import { significant } from '../evaluation/report/format-number.js';
import type { PromptExtremes, SampleSheet } from '../evaluation/report/report-data.js';
import { composeGrid } from '../evaluation/report/sample-grid.js';
import { selectExtremes } from '../evaluation/report/select-extremes.js';
import { concatRows, sliceRows } from '../models/tensors/tensor.js';
import { openStoredPictures } from './images/stored-pictures.js';
import { loadShards } from './load-artifacts.js';
import type { LocalStore } from './store/local-store.js';

/** Triples in the grid. */
const SHOWN = 12;
/** Small pictures are enlarged to about this many pixels. */
const PANEL_PIXELS = 96;
/** Large pictures are shown at most this wide, so that a report stays a few megabytes. */
const LARGEST_PANEL = 192;

/** The sample grid: a PNG with room for captions, and where they go. */
async function sampleSheet(
  float: Images,
  quantized: Images,
  prompts: readonly string[],
): Promise<{ png: Uint8Array; sheet: SampleSheet }> {
  const count = Math.min(SHOWN, prompts.length, float.dims[0] ?? 0);
  return pngSheet(sliceRows(float, 0, count), sliceRows(quantized, 0, count), prompts.slice(0, count));
}

interface ExtremePromptsOptions {
  /** Same-seed values, one per picture: `psnr`, `lpips` … */
  readonly values: ArrayLike<number>;
  readonly metric: string;
  readonly unit: string;
  readonly better: 'higher' | 'lower';
  /** Of picture i; may be shorter for unconditional models. */
  readonly prompts: readonly string[];
  /** Both sides' pictures at these indices, in this order; RGB of one size. */
  readonly read: (indices: readonly number[]) => Promise<{ readonly float: Images; readonly candidate: Images }>;
}

/** Sheets of the pictures that are furthest from and closest to the float ones; undefined for fewer than two pictures. */
async function extremePrompts(options: ExtremePromptsOptions): Promise<PromptExtremes | undefined> {
  const { values, metric, unit, better, prompts, read } = options;
  const { worst, best } = selectExtremes(values, better);
  if (best.length === 0) return undefined;
  const sheetOf = async (indices: readonly number[]): Promise<SampleSheet> => {
    const { float, candidate } = await read(indices);
    const { sheet } = await pngSheet(
      float,
      candidate,
      indices.map((i) => prompts[i] ?? ''),
    );
    const note = (i: number) => `${significant(values[i])}${unit === '' ? '' : ` ${unit}`}`;
    return { ...sheet, cells: sheet.cells.map((cell, at) => ({ ...cell, note: note(indices[at] ?? 0) })) };
  };
  return { metric, unit, better, n: values.length, worst: await sheetOf(worst), best: await sheetOf(best) };
}

export interface SampleSheets {
  readonly samples: { readonly png: Uint8Array; readonly sheet: SampleSheet };
  readonly extremes: PromptExtremes | undefined;
}

/**
 * The sample grid of two sets, and their pictures that are furthest from and closest to each other.
 * @param sets kind shards: pictures of the same seeds
 * @param psnr same-seed PSNR of every picture
 */
export async function sampleSheets(
  store: LocalStore,
  sets: { readonly float: ArtifactRef; readonly candidate: ArtifactRef },
  prompts: readonly string[],
  psnr: readonly number[],
): Promise<SampleSheets> {
  const float = await openStoredPictures(store, await loadShards(store, sets.float));
  const candidate = await openStoredPictures(store, await loadShards(store, sets.candidate));
  const picturesOf = async (source: PictureSource, indices: readonly number[]) =>
    concatRows(await source.read(indices)) as Images;
  const read = async (indices: readonly number[]) => ({
    float: await picturesOf(float, indices),
    candidate: await picturesOf(candidate, indices),
  });
  const first = await read(Array.from({ length: Math.min(SHOWN, float.n) }, (_, i) => i));
  return {
    samples: await sampleSheet(first.float, first.candidate, prompts),
    extremes: await extremePrompts({
      ...{ values: psnr, metric: 'PSNR', unit: 'dB', better: 'higher', prompts, read },
    }),
  };
}

async function pngSheet(
  float: Images,
  quantized: Images,
  prompts: readonly string[],
): Promise<{ png: Uint8Array; sheet: SampleSheet }> {
  const [shownFloat, shownQuantized] = [await fitted(float), await fitted(quantized)];
  const grid = composeGrid({
    float: shownFloat,
    quantized: shownQuantized,
    prompts,
    scale: Math.max(1, Math.floor(PANEL_PIXELS / imageSize(shownFloat).width)),
  });
  const { width, height, rgb, cells } = grid;
  const png = await sharp(rgb, { raw: { width, height, channels: 3 } })
    .png({ compressionLevel: 9 })
    .toBuffer();
  const pngDataUri = `data:image/png;base64,${png.toString('base64')}`;
  return { png, sheet: { pngDataUri, width, height, cells } };
}

/** Pictures wider than LARGEST_PANEL made smaller, for the eye only: no score is computed from them. */
async function fitted(images: Images): Promise<Images> {
  const { n, width, height, channels } = imageSize(images);
  if (width <= LARGEST_PANEL || channels !== 3) return images;
  const size = { width: LARGEST_PANEL, height: Math.max(1, Math.round((height * LARGEST_PANEL) / width)) };
  const parts: Images[] = [];
  for (let i = 0; i < n; i += 1) {
    const { data } = sliceRows(images, i, i + 1) as Images;
    const raw = { width, height, channels: 3 as const };
    const small = await sharp(data, { raw })
      .resize({ ...size, fit: 'fill' })
      .raw()
      .toBuffer();
    parts.push({ type: 'uint8', dims: [1, size.height, size.width, 3], data: new Uint8Array(small) });
  }
  return concatRows(parts) as Images;
}
