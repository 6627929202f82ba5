import { dot, type Matrix, matrixRow, transpose, zeroMatrix } from '../../models/linalg/matrix.js';
import { type FeatureRows, reorderedRows } from '../features/feature-set.js';
import type { PivotedFactor } from '../linalg/blocked-cholesky.js';
import { solveLowerTriangle } from '../linalg/solve-lower-triangle.js';
import { both } from './both.js';
import type { SidesDistance } from './frechet-of-sides.js';
import { centredRows, type GaussianSide } from './gaussian-side.js';
import type { MetricContext } from './set-metric.js';

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
  context: MetricContext,
): Promise<number | null> {
  const partners = a.source === null || b.source === null ? undefined : context.partners;
  const forward = { delta, cross, polar };
  const backward = { delta: delta.map((value) => -value), cross: transpose(cross), polar: transpose(polar) };
  const [left, right] = await both(
    rowEffects(a, forward, undefined, context),
    rowEffects(b, backward, partners, context),
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

type Terms = Pick<SidesDistance, 'delta' | 'cross' | 'polar'>;

/** g of the rows `order`, or of the first rows, in canonical order: a sample that knows nothing of the pictures. */
async function rowEffects(
  side: GaussianSide,
  terms: Terms,
  order: Uint32Array | undefined,
  context: MetricContext,
): Promise<Float64Array | null> {
  if (side.source === null) return null;
  const { rows, pivots } = side.source;
  if (pivots === null) {
    const effects = effectsOfFactorRows(side, terms);
    return order === undefined ? effects : Float64Array.from(order, (row) => effects[row] as number);
  }
  const picked = order === undefined ? rows : reorderedRows(rows, order);
  return effectsOfRead(picked, { side, pivots, terms }, context);
}

/** Rows of F are rows of features over √(n − 1), and qᵀHq is (n − 1) · the diagonal of M·Wᵀ. */
function effectsOfFactorRows({ factor }: GaussianSide, { delta, cross, polar }: Terms): Float64Array {
  const n = factor.rows;
  return Float64Array.from({ length: n }, (_, i) => {
    const row = matrixRow(factor, i);
    const moved = dot(matrixRow(cross, i), matrixRow(polar, i));
    return 2 * Math.sqrt(n - 1) * dot(delta, row) + (n - 1) * (dot(row, row) - moved);
  });
}

/** qᵀHq = (q·M)·(q·W): two thin products, not a [d, d] one. */
async function effectsOfRead(
  rows: FeatureRows,
  { side, pivots, terms }: { side: GaussianSide; pivots: Uint32Array; terms: Terms },
  { products, breathe }: MetricContext,
): Promise<Float64Array> {
  const { factor, mean } = side;
  const centred = centredRows(await rows.read(0, Math.min(rows.n, SAMPLED_ROWS)), mean);
  const coordinates = await solveLowerTriangle(
    lowerTriangle({ factor, pivots }),
    pickedColumns(centred, pivots),
    products,
    breathe,
  );
  const byCross = await products.timesTransposed(coordinates, transpose(terms.cross));
  const byPolar = await products.timesTransposed(coordinates, transpose(terms.polar));
  await breathe();
  return Float64Array.from({ length: centred.rows }, (_, i) => {
    const row = matrixRow(centred, i);
    const share = dot(matrixRow(byCross, i), matrixRow(byPolar, i));
    return 2 * dot(terms.delta, row) + dot(row, row) - share;
  });
}

/** The lower triangle L with L·q = x[pivots]: q are the coordinates of a centred row x in F, x = Fᵀ·q. */
function lowerTriangle({ factor, pivots }: PivotedFactor): Matrix {
  const r = factor.rows;
  const result = zeroMatrix(r, r);
  for (let j = 0; j < r; j += 1) {
    for (let k = 0; k <= j; k += 1) {
      result.data[j * r + k] = factor.data[k * factor.cols + (pivots[j] as number)] as number;
    }
  }
  return result;
}

function pickedColumns(of: Matrix, columns: Uint32Array): Matrix {
  const result = zeroMatrix(of.rows, columns.length);
  for (let i = 0; i < of.rows; i += 1) {
    for (let k = 0; k < columns.length; k += 1) {
      result.data[i * columns.length + k] = of.data[i * of.cols + (columns[k] as number)] as number;
    }
  }
  return result;
}

/** With divisor n − 1. */
function variance(values: Float64Array): number {
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  return values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (values.length - 1);
}
