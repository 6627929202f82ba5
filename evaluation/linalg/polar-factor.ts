import type { Breathe } from '../../models/linalg/breathe.js';
import { dot } from '../../models/linalg/matrix.js';
import { gaussianTensor } from '../../models/tensors/random.js';
import { type HeldMatrices, type HeldMatrix, scoped } from './held-matrices.js';
import { inverseCholeskyFactor } from './inverse-cholesky.js';

/**
 * The polar factor W = U·Vᵀ of M = U·S·Vᵀ, by the dynamically weighted Halley iteration (Nakatsukasa, Bai & Gygi 2010, eq. 3.6,
 * in its Cholesky form), nothing but large products:
 *   X ← (b/c)·X + (a − b/c)·X·(I + c·XᵀX)⁻¹,   X₀ = M / √|MᵀM|_F,
 * which moves every singular value x to x·(a + b·x²)/(1 + c·x²), towards 1. (a, b, c) are the best for all x in [l, 1], with c
 * capped so that the matrix to be inverted keeps a condition below 1 + c (Nakatsukasa & Higham 2012: this form is backward stable
 * for moderate c). Six steps take every x ≥ `SMALLEST` to 1 within rounding, whatever M is. Four do when none lies below 2e-5 but
 * those that are nothing: a guess of the smallest value makes it four or five, and is checked before the last of them.
 *
 * |M|_* = max over |W|₂ ≤ 1 of tr WᵀM. A W that is off by a rotation of angle δ therefore gives a trace that is off by δ² only,
 * from below; singular values x < SMALLEST·√|MᵀM|_F, which are not all the way at 1, give away at most their own sum. On 300 × 300
 * matrices with condition 1 to 10²² the trace was within 2e-13 of the singular values' sum.
 */

/** Relative to √|MᵀM|_F: 2048 values of this size are 2e-9 of the largest. */
const SMALLEST = 1e-12;
/** Condition of what is inverted: WᵀM is then symmetric within 1e-11. A hundredth of it costs a seventh step. */
const LARGEST_WEIGHT = 1e7;
/** Values are at 1 when the smallest is within this of it: a share of the trace. */
const CONVERGED = 1e-13;
/** Guesses above are taken for this: the first step brings all larger values below it anyway. */
const LARGEST_GUESS = 1e-3;

/** scale · matrix */
export interface ScaledMatrix {
  readonly matrix: HeldMatrix;
  readonly scale: number;
}

/**
 * W [m, n] of M [m, n]. A zero M gives a zero W. `guess`: about the smallest singular value of M that is not rounding; a good one
 * saves steps, a wrong one costs some, and 0 is none.
 * @throws RangeError for a matrix that is not finite
 */
export async function polarFactor(
  m: HeldMatrix,
  held: HeldMatrices,
  breathe: Breathe,
  guess = 0,
): Promise<ScaledMatrix> {
  if (m.rows > m.cols) {
    return scoped(held, async (own) => {
      const { matrix, scale } = await polarFactor(await own.turned(m), own, breathe, guess);
      return { matrix: await held.turned(matrix), scale };
    });
  }
  const gram = await held.gram(m);
  const { data } = await held.read(gram);
  const square = Math.sqrt(dot(data, data));
  if (!Number.isFinite(square)) throw new RangeError('a polar factor of a matrix that is not finite');
  if (square === 0) return { matrix: m, scale: 0 };
  const scale = 1 / Math.sqrt(square);
  return iterated({ matrix: m, scale }, gram, Math.min(guess * scale, LARGEST_GUESS), held, breathe);
}

/** `sure` and `hoped`: what all values are above, but for those that are nothing, whatever M is and if the guess is right. */
async function iterated(
  start: ScaledMatrix,
  firstGram: HeldMatrix,
  guess: number,
  held: HeldMatrices,
  breathe: Breathe,
): Promise<ScaledMatrix> {
  let state = start;
  let sure = SMALLEST;
  let hoped = Math.max(SMALLEST, guess);
  while (1 - hoped > CONVERGED) {
    const last = state;
    const gram = last === start ? firstGram : await held.gram(last.matrix);
    const isLast = 1 - smallestAfter(hoped, bestWeights(hoped)) <= CONVERGED;
    if (isLast && hoped > sure && !(await isClose(start.matrix, { ...last, matrix: gram }, held))) hoped = sure;
    const weights = bestWeights(hoped);
    state = await halleyStep(last, gram, weights, held, breathe);
    if (last !== start) await held.free(last.matrix);
    sure = smallestAfter(sure, weights);
    hoped = smallestAfter(hoped, weights);
  }
  return state;
}

/** Vectors of the check: that a direction escapes all of them is as good as impossible. */
const PROBES = 4;
const PROBE_SEED = 1;
/** 1 − x² of a step before the last is below 4e-4: this many times, and it is rounding. */
const CHECKS = 4;
/** Share of M that may be left: with CHECKS it notices 1 − x² of 6e-4 in all of M, which the last step makes 4e-13. */
const LEFT = 1e-13;

/**
 * Whether the singular values x that matter are so near to 1 that a step ends the iteration: (I − XXᵀ)⁴ leaves nothing of M's
 * image. `gram` is that of X / scale.
 */
async function isClose(m: HeldMatrix, { matrix: gram, scale }: ScaledMatrix, held: HeldMatrices): Promise<boolean> {
  const probes = Float64Array.from(gaussianTensor(PROBE_SEED, 0, [m.cols, PROBES]).data);
  return scoped(held, async (own) => {
    const image = await own.readProduct(m, await own.hold({ rows: m.cols, cols: PROBES, data: probes }));
    const whole = dot(image.data, image.data);
    for (let check = 0; check < CHECKS; check += 1) {
      const moved = await own.readProduct(gram, await own.hold(image));
      for (const [i, value] of moved.data.entries()) {
        image.data[i] = (image.data[i] as number) - scale * scale * value;
      }
    }
    return dot(image.data, image.data) <= LEFT * LEFT * whole;
  });
}

/** Sum of the singular values, from a matrix and its polar factor: tr WᵀM. */
export async function nuclearNormFrom(m: HeldMatrix, polar: ScaledMatrix, held: HeldMatrices): Promise<number> {
  return polar.scale * dot((await held.read(m)).data, (await held.read(polar.matrix)).data);
}

interface Weights {
  readonly a: number;
  readonly b: number;
  readonly c: number;
}

/** The smallest of x·(a + b·x²)/(1 + c·x²) for x in [l, 1]: at l, or where the curve turns up again. */
function smallestAfter(l: number, { a, b, c }: Weights): number {
  const moved = (x: number): number => Math.min(1, (x * (a + b * x * x)) / (1 + c * x * x));
  const slope = a * c - 3 * b;
  const turn = Math.sqrt((slope + Math.sqrt(Math.max(0, slope * slope - 4 * a * b * c))) / (2 * b * c));
  return turn > l && turn < 1 ? Math.min(moved(l), moved(turn)) : moved(l);
}

/** The best a for values in [l, 1], then b = (a − 1)²/4 and c = a + b − 1, or the largest a that keeps c at its cap. */
function bestWeights(l: number): Weights {
  const d = Math.cbrt((4 * (1 - l * l)) / l ** 4);
  const root = Math.sqrt(1 + d);
  const best = root + 0.5 * Math.sqrt(8 - 4 * d + (8 * (2 - l * l)) / (l * l * root));
  const a = Math.min(best, 2 * Math.sqrt(LARGEST_WEIGHT + 1) - 1);
  const b = (a - 1) ** 2 / 4;
  return { a, b, c: a + b - 1 };
}

/**
 * (b/c)·X + (a − b/c)·(I + c·G)⁻¹·X with G = X·Xᵀ, X = scale · matrix. `gram` is the matrix's own
 * and is freed. Scalars are kept beside the matrices, so that nothing is done to whole matrices but products:
 *   (I + c·G)⁻¹ = (gram + I/(c·scale²))⁻¹ / (c·scale²).
 */
async function halleyStep(
  { matrix, scale }: ScaledMatrix,
  gram: HeldMatrix,
  { a, b, c }: Weights,
  held: HeldMatrices,
  breathe: Breathe,
): Promise<ScaledMatrix> {
  const [keep, add] = [b / c, a - b / c];
  const moved = await scoped(held, async (own) => {
    const root = await inverseCholeskyFactor(gram, own, breathe, 1 / (c * scale * scale));
    await held.free(gram);
    const inverse = await own.triangularGram(root);
    await own.free(root);
    const plus = { plus: matrix, factor: (keep * c * scale * scale) / add };
    return own.product(inverse, matrix, plus);
  });
  return { matrix: moved, scale: add / (c * scale) };
}
