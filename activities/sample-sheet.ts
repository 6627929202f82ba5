import sharp from 'sharp';
import type { Images } from '../evaluation/metrics/image-pairs.js';
import type { SampleSheet } from '../evaluation/report/report-data.js';
import { composeGrid } from '../evaluation/report/sample-grid.js';
import { sliceRows } from '../models/tensors/tensor.js';

/** Triples in the grid. */
const SHOWN = 12;
/** Pictures are enlarged to about this many pixels. */
const PANEL_PIXELS = 96;

/** The sample grid: a PNG with room for captions, and where they go. */
export async function sampleSheet(
  float: Images,
  quantized: Images,
  prompts: readonly string[],
): Promise<{ png: Uint8Array; sheet: SampleSheet }> {
  const shown = Math.min(SHOWN, prompts.length, float.dims[0] ?? 0);
  const grid = composeGrid({
    float: sliceRows(float, 0, shown),
    quantized: sliceRows(quantized, 0, shown),
    prompts: prompts.slice(0, shown),
    scale: Math.max(1, Math.floor(PANEL_PIXELS / (float.dims[2] ?? PANEL_PIXELS))),
  });
  const { width, height, rgb, cells } = grid;
  const png = await sharp(rgb, { raw: { width, height, channels: 3 } })
    .png({ compressionLevel: 9 })
    .toBuffer();
  const pngDataUri = `data:image/png;base64,${png.toString('base64')}`;
  return { png, sheet: { pngDataUri, width, height, cells } };
}
