import { NibbleflowError } from '../../contracts/errors.js';
import { type Images, imageSize, pairedSize } from '../metrics/image-pairs.js';
import type { SampleCell } from './report-data.js';

export interface GridOptions {
  /** RGB, uint8 [n, h, w, 3]; both of the same prompts and seeds. */
  readonly float: Images;
  readonly quantized: Images;
  readonly prompts: readonly string[];
  /** Whole-number enlargement by repetition of pixels. */
  readonly scale?: number;
  /** Triples in a row. */
  readonly columns?: number;
  /** Pixels left free below each triple for its caption; 0 for a picture that is shown without captions. */
  readonly captionHeight?: number;
  /** Pixels left free above the first row for headings. */
  readonly headingHeight?: number;
}

export interface Grid {
  readonly width: number;
  readonly height: number;
  /** 3 bytes a pixel, row-major. */
  readonly rgb: Uint8Array;
  readonly cells: readonly SampleCell[];
}

/** How much the third picture of each triple enlarges |float − quantized|. */
export const DIFFERENCE_GAIN = 8;

const BACKGROUND = 250;
const PANEL_GAP = 3;
const TRIPLE_GAP = 20;
const ROW_GAP = 8;
const MARGIN = 12;

/** One picture with triples float | quantized | |difference| × 8, in reading order. Throws InvalidInput on unequal sets. */
export function composeGrid(options: GridOptions): Grid {
  const { float, quantized, prompts, scale = 3, columns = 3, captionHeight = 20, headingHeight = 20 } = options;
  const size = pairedSize(float, quantized);
  if (size.channels !== 3 || size.n === 0 || prompts.length !== size.n) {
    throw new NibbleflowError(
      'InvalidInput',
      `a sample grid needs RGB pictures with a prompt each, got [${float.dims}] and ${prompts.length} prompts`,
    );
  }
  const panelWidth = size.width * scale;
  const panelHeight = size.height * scale;
  const across = Math.min(columns, size.n);
  const tripleWidth = 3 * panelWidth + 2 * PANEL_GAP;
  const rowHeight = panelHeight + captionHeight + ROW_GAP;
  const width = 2 * MARGIN + across * tripleWidth + (across - 1) * TRIPLE_GAP;
  const height = 2 * MARGIN + headingHeight + Math.ceil(size.n / across) * rowHeight - ROW_GAP;
  const rgb = new Uint8Array(width * height * 3).fill(BACKGROUND);
  const difference = differenceImages(float, quantized);
  const cells = prompts.map((prompt, index) => {
    const x = MARGIN + (index % across) * (tripleWidth + TRIPLE_GAP);
    const y = MARGIN + headingHeight + Math.floor(index / across) * rowHeight;
    for (const [panel, images] of [float, quantized, difference].entries()) {
      drawImage(rgb, width, images, index, scale, x + panel * (panelWidth + PANEL_GAP), y);
    }
    return { prompt, x, y, width: tripleWidth, height: panelHeight };
  });
  return { width, height, rgb, cells };
}

/** |a − b| × DIFFERENCE_GAIN, clamped to 255. */
function differenceImages(a: Images, b: Images): Images {
  const data = a.data.map((value, i) => Math.min(255, Math.abs(value - (b.data[i] as number)) * DIFFERENCE_GAIN));
  return { type: 'uint8', dims: a.dims, data };
}

function drawImage(
  rgb: Uint8Array,
  width: number,
  images: Images,
  index: number,
  scale: number,
  left: number,
  top: number,
): void {
  const size = imageSize(images);
  for (let row = 0; row < size.height * scale; row += 1) {
    for (let column = 0; column < size.width * scale; column += 1) {
      const pixel = (index * size.height + Math.floor(row / scale)) * size.width + Math.floor(column / scale);
      const target = ((top + row) * width + left + column) * 3;
      for (let channel = 0; channel < 3; channel += 1)
        rgb[target + channel] = images.data[pixel * 3 + channel] as number;
    }
  }
}
