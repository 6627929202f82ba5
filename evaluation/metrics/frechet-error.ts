import type { Breathe } from '../../models/linalg/breathe.js';
import { dot, type Matrix, matrixRow, transpose } from '../../models/linalg/matrix.js';
import { type FeatureRows, reorderedRows } from '../features/feature-set.js';
import { type HeldMatrices, scoped } from '../linalg/held-matrices.js';
import { solveTriangle } from '../linalg/solve-triangle.js';
import { both } from './both.js';
import type { SidesDistance } from './frechet-of-sides.js';
import type { GaussianSide } from './gaussian-side.js';

/**
 * Standard error of a Fréchet distance by the infinitesimal jackknife (Jaeckel 1972; Efron 1982, ch. 6): what the value would do
 * if one row had a little more weight. With H = (M·Mᵀ)^½ = M·Wᵀ and q the coordinates of a centred row x = F₁ᵀq,
 *   g(x) = 2·Δμᵀx + |x|² − qᵀ·H·q,        error² = var g / n, summed over both sides
 * (the other side with −Δμ and Mᵀ; of same-seed pairs, which are no independent sides, var (g₁ + g₂) / n).
 *
 * Why not a bootstrap: repeated rows lower the rank and raise the distance, so resampled values lie above the value. Why not a
 * delete-a-group jackknife: it is the same to first order, and costs a distance for each group. The interval is about the
 * expected distance at this n, not about that of infinitely many pictures, which is smaller (that is why n is in the name).
 * Like every jackknife it is on the safe side (Efron & Stein 1981): coverage is the nominal one where the sets differ, and the
 * interval up to √2 too wide where they do not, because the first-order term vanishes there.
 */
export async function frechetError(
  a: GaussianSide,
  b: GaussianSide,
  { delta, cross, polar }: Pick<SidesDistance, 'delta' | 'cross' | 'polar'>,
  { held, breathe, partners: pairs }: ErrorContext,
): Promise<number | null> {
  const partners = a.source === null || b.source === null ? undefined : pairs;
  const forward = { delta, cross, polar, turned: false };
  const backward = { delta: delta.map((value) => -value), cross, polar, turned: true };
  const [left, right] = await both(
    rowEffects(a, forward, undefined, held, breathe),
    rowEffects(b, backward, partners, held, breathe),
  );
  if (left !== null && right !== null && partners !== undefined) {
    return Math.sqrt(variance(left.map((value, i) => value + (right[i] as number))) / partners.length);
  }
  const shares = [
    [left, a.n],
    [right, b.n],
  ] as const;
  const total = shares.reduce((sum, [effects, n]) => sum + (effects === null ? 0 : variance(effects) / (n ?? 1)), 0);
  return left === null && right === null ? null : Math.sqrt(total);
}

/** Rows whose effects are computed when there are many: their variance is then known within a few percent. */
const SAMPLED_ROWS = 1024;

export interface ErrorContext {
  readonly held: HeldMatrices;
  readonly breathe: Breathe;
  /** See MetricContext. */
  readonly partners: Uint32Array | undefined;
}

/** Seen from the other side, M and W are read turned. */
type Terms = Pick<SidesDistance, 'delta' | 'cross' | 'polar'> & { readonly turned: boolean };

/** g of the rows `order`, or of the first rows, in canonical order: a sample that knows nothing of the pictures. */
async function rowEffects(
  side: GaussianSide,
  terms: Terms,
  order: Uint32Array | undefined,
  held: HeldMatrices,
  breathe: Breathe,
): Promise<Float64Array | null> {
  if (side.source === null) return null;
  const { rows, pivots } = side.source;
  if (pivots === null) {
    const effects = await effectsOfFactorRows(side, terms, held);
    return order === undefined ? effects : Float64Array.from(order, (row) => effects[row] as number);
  }
  const picked = order === undefined ? rows : reorderedRows(rows, order);
  return effectsOfRead(picked, { side, pivots, terms }, held, breathe);
}

/** Rows of F are rows of features over √(n − 1), and qᵀHq is (n − 1) · the diagonal of M·Wᵀ. */
async function effectsOfFactorRows(
  { factor }: GaussianSide,
  { delta, cross, polar, turned }: Terms,
  held: HeldMatrices,
): Promise<Float64Array> {
  const n = factor.rows;
  const rows = await held.read(factor);
  const [m, w] = (await both(held.read(cross), held.read(polar.matrix))).map((of) => (turned ? transpose(of) : of)) as [
    Matrix,
    Matrix,
  ];
  return Float64Array.from({ length: n }, (_, i) => {
    const row = matrixRow(rows, i);
    const share = polar.scale * dot(matrixRow(m, i), matrixRow(w, i));
    return 2 * Math.sqrt(n - 1) * dot(delta, row) + (n - 1) * (dot(row, row) - share);
  });
}

/** qᵀHq = (q·M)·(q·W): two thin products, not a [d, d] one. */
async function effectsOfRead(
  rows: FeatureRows,
  { side, pivots, terms }: { side: GaussianSide; pivots: Uint32Array; terms: Terms },
  held: HeldMatrices,
  breathe: Breathe,
): Promise<Float64Array> {
  const { mean } = side;
  const { delta, cross, polar, turned } = terms;
  const read = await rows.read(0, Math.min(rows.n, SAMPLED_ROWS));
  const [byCross, byPolar] = await scoped(held, async (own) => {
    const picked = await own.pick(await own.holdCentred(read, mean), 'cols', pivots);
    const triangle = await own.pick(side.factor, 'cols', pivots);
    const coordinates = await own.turned(await solveTriangle(triangle, picked, own, breathe));
    const form = { turnB: turned };
    return [
      await own.readProduct(coordinates, cross, form),
      await own.readProduct(coordinates, polar.matrix, form),
    ] as const;
  });
  await breathe();
  const centred = new Float64Array(mean.length);
  return Float64Array.from({ length: byCross.rows }, (_, i) => {
    for (let j = 0; j < centred.length; j += 1) {
      centred[j] = (read[i * centred.length + j] as number) - (mean[j] as number);
    }
    const share = polar.scale * dot(matrixRow(byCross, i), matrixRow(byPolar, i));
    return 2 * dot(delta, centred) + dot(centred, centred) - share;
  });
}

/** With divisor n − 1. */
function variance(values: Float64Array): number {
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  return values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (values.length - 1);
}
