import { uniforms } from '../../models/tensors/random.js';
import { tensor } from '../../models/tensors/tensor.js';
import type { Images } from '../metrics/image-pairs.js';

/**
 * Pictures to try an evaluation on: a background that fades from one colour to another, with a few shapes on it. Discs and
 * bars are two kinds of picture that every extractor tells apart.
 */
export interface ShapePictures {
  readonly n: number;
  readonly height: number;
  readonly width: number;
  readonly seed: number;
  readonly shape: keyof typeof SHAPES;
}

/** Whether the point (y, x) lies in a shape around the origin; all lengths are shares of the picture's smaller side. */
const SHAPES = {
  disc: (y: number, x: number, size: number) => y * y + x * x < size * size,
  bar: (y: number, x: number, size: number) => Math.abs(y) < size / 4 && Math.abs(x) < 1.5 * size,
} as const;

const SHAPES_PER_PICTURE = 3;
/** Random numbers of a shape: place (2), size, colour (3). */
const DRAWS_PER_SHAPE = 6;
/** Random numbers of a background: two colours. */
const DRAWS_OF_BACKGROUND = 6;

/** Seeded pictures, uint8 [n, height, width, 3]; picture i depends on the seed and i alone. */
export function shapePictures({ n, height, width, seed, shape }: ShapePictures): Images {
  const size = height * width * 3;
  const data = new Uint8Array(n * size);
  for (let i = 0; i < n; i += 1) {
    const draws = uniforms(seed, i, DRAWS_OF_BACKGROUND + SHAPES_PER_PICTURE * DRAWS_PER_SHAPE);
    paint(data.subarray(i * size, (i + 1) * size), { height, width }, draws, SHAPES[shape]);
  }
  return tensor('uint8', [n, height, width, 3], data);
}

function paint(
  pixels: Uint8Array,
  { height, width }: { height: number; width: number },
  draws: Float64Array,
  inside: (typeof SHAPES)[keyof typeof SHAPES],
): void {
  const side = Math.min(height, width);
  const draw = (index: number): number => draws[index] as number;
  for (let row = 0; row < height; row += 1) {
    for (let column = 0; column < width; column += 1) {
      const fade = (row + column) / (height + width);
      let colour = [0, 1, 2].map((c) => (1 - fade) * draw(c) + fade * draw(3 + c));
      for (let s = 0; s < SHAPES_PER_PICTURE; s += 1) {
        const first = DRAWS_OF_BACKGROUND + s * DRAWS_PER_SHAPE;
        const y = (row - draw(first) * height) / side;
        const x = (column - draw(first + 1) * width) / side;
        if (inside(y, x, 0.1 + 0.2 * draw(first + 2))) colour = [3, 4, 5].map((c) => draw(first + c));
      }
      for (const [c, level] of colour.entries()) pixels[(row * width + column) * 3 + c] = Math.round(255 * level);
    }
  }
}
