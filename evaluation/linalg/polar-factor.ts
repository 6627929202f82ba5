import type { Breathe } from '../../models/linalg/breathe.js';
import { dot } from '../../models/linalg/matrix.js';
import { type HeldMatrices, type HeldMatrix, scoped } from './held-matrices.js';
import { inverseCholeskyFactor } from './inverse-cholesky.js';

/**
 * The polar factor W = U·Vᵀ of M = U·S·Vᵀ, by the dynamically weighted Halley iteration (Nakatsukasa, Bai & Gygi 2010, eq. 3.6,
 * in its Cholesky form), nothing but large products:
 *   X ← (b/c)·X + (a − b/c)·X·(I + c·XᵀX)⁻¹,   X₀ = M / √|MᵀM|_F,
 * which moves every singular value x to x·(a + b·x²)/(1 + c·x²), towards 1. (a, b, c) are the best for all x in [l, 1], with c
 * capped so that the matrix to be inverted keeps a condition below 1 + c (Nakatsukasa & Higham 2012: this form is backward stable
 * for moderate c). Six steps take every x ≥ `SMALLEST` to 1 within rounding, whatever M is.
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
const CONVERGED = 1e-14;

/** scale · matrix */
export interface ScaledMatrix {
  readonly matrix: HeldMatrix;
  readonly scale: number;
}

/** W [m, n] of M [m, n]. A zero M gives a zero W. @throws RangeError for a matrix that is not finite */
export async function polarFactor(m: HeldMatrix, held: HeldMatrices, breathe: Breathe): Promise<ScaledMatrix> {
  if (m.rows > m.cols) {
    return scoped(held, async (own) => {
      const { matrix, scale } = await polarFactor(await own.turned(m), own, breathe);
      return { matrix: await held.turned(matrix), scale };
    });
  }
  const gram = await held.gram(m);
  const { data } = await held.read(gram);
  const square = Math.sqrt(dot(data, data));
  if (!Number.isFinite(square)) throw new RangeError('a polar factor of a matrix that is not finite');
  if (square === 0) return { matrix: m, scale: 0 };
  let state: ScaledMatrix = { matrix: m, scale: 1 / Math.sqrt(square) };
  for (const [step, weights] of WEIGHTS.entries()) {
    const last = state.matrix;
    state = await halleyStep(state, step === 0 ? gram : await held.gram(last), weights, held, breathe);
    if (step > 0) await held.free(last);
  }
  return state;
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

/** The weights of each step, from the smallest value that is followed. */
const WEIGHTS: readonly Weights[] = weightsFrom(SMALLEST);

function weightsFrom(smallest: number): Weights[] {
  const result: Weights[] = [];
  for (let l = smallest; 1 - l > CONVERGED; ) {
    const { a, b, c } = bestWeights(l);
    result.push({ a, b, c });
    l = Math.min(1, (l * (a + b * l * l)) / (1 + c * l * l));
  }
  return result;
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
