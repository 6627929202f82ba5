import { type Breathe, withoutPause } from './breathe.js';
import { type Matrix, matrixRow, zeroMatrix } from './matrix.js';

/**
 * Eigenvalues and eigenvectors of a real symmetric matrix: Householder reduction to tridiagonal form, then implicit QL with
 * Wilkinson's shift (Golub & Van Loan, Matrix Computations, algorithms 8.3.1 and 8.3.3; Wilkinson & Reinsch 1971, II/2–3).
 * About 9 n³ operations.
 */
export interface SymmetricEigen {
  /** Largest first. */
  readonly values: Float64Array;
  /** Row i is the unit eigenvector of `values[i]`; its largest entry is positive. */
  readonly vectors: Matrix;
}

/** QL steps per eigenvalue; two or three are usual. */
const MAX_STEPS = 60;

/** @throws RangeError for a matrix that is not square, or not finite. Only the lower triangle is read. */
export async function symmetricEigen(matrix: Matrix, breathe: Breathe = withoutPause): Promise<SymmetricEigen> {
  if (matrix.rows !== matrix.cols) throw new RangeError(`not square: ${matrix.rows} × ${matrix.cols}`);
  const { diagonal, beside, basis } = await tridiagonalize(matrix, breathe);
  for (let low = 0; low < matrix.rows; low += 1) {
    chase(diagonal, beside, basis, low);
    await breathe();
  }
  const order = Array.from(diagonal.keys()).sort((a, b) => (diagonal[b] as number) - (diagonal[a] as number));
  const vectors = zeroMatrix(matrix.rows, matrix.rows);
  order.forEach((from, to) => {
    matrixRow(vectors, to).set(withPositivePeak(matrixRow(basis, from)));
  });
  return { values: Float64Array.from(order, (from) => diagonal[from] as number), vectors };
}

interface Tridiagonal {
  readonly diagonal: Float64Array;
  /** beside[i] couples i and i + 1; the last is 0. */
  readonly beside: Float64Array;
  /** Row j is the image of basis vector j: matrix = basisᵀ · T · basis. */
  readonly basis: Matrix;
}

/** A ← H A H with H = I − τ v vᵀ for one column after the other; the basis collects the reflections. */
async function tridiagonalize(matrix: Matrix, breathe: Breathe): Promise<Tridiagonal> {
  const n = matrix.rows;
  const work = symmetrized(matrix);
  const basis = zeroMatrix(n, n);
  for (let i = 0; i < n; i += 1) basis.data[i * n + i] = 1;
  const beside = new Float64Array(n);
  for (let k = 0; k < n - 1; k += 1) {
    await breathe();
    const reflector = householder(work, k);
    beside[k] = reflector.head;
    if (reflector.tau === 0) continue;
    reflectBothSides(work, reflector, k + 1);
    reflectRows(basis, reflector, k + 1);
  }
  return { diagonal: Float64Array.from({ length: n }, (_, i) => work.data[i * n + i] as number), beside, basis };
}

function symmetrized({ rows: n, data }: Matrix): Matrix {
  const copy = zeroMatrix(n, n);
  for (let i = 0; i < n; i += 1) {
    for (let j = 0; j <= i; j += 1) {
      const value = data[i * n + j] as number;
      if (!Number.isFinite(value)) throw new RangeError('eigenvalues of a matrix that is not finite');
      copy.data[i * n + j] = value;
      copy.data[j * n + i] = value;
    }
  }
  return copy;
}

interface Reflector {
  readonly v: Float64Array;
  readonly tau: number;
  /** What the column becomes: (head, 0, 0, …). */
  readonly head: number;
}

/** For column k below its diagonal. */
function householder({ rows: n, data }: Matrix, k: number): Reflector {
  const v = Float64Array.from({ length: n - k - 1 }, (_, i) => data[(k + 1 + i) * n + k] as number);
  const first = v[0] as number;
  const rest = v.reduce((sum, value, i) => (i === 0 ? 0 : sum + value * value), 0);
  if (rest === 0) return { v, tau: 0, head: first };
  const norm = Math.hypot(first, Math.sqrt(rest));
  const head = first > 0 ? -norm : norm;
  v[0] = first - head;
  return { v, tau: 2 / (rest + (first - head) ** 2), head };
}

/** The trailing block, from row and column `from`: A − v wᵀ − w vᵀ with p = τ A v, w = p − ½ τ (pᵀv) v. */
function reflectBothSides({ rows: n, data }: Matrix, { v, tau }: Reflector, from: number): void {
  const w = new Float64Array(v.length);
  let inner = 0;
  for (let i = 0; i < v.length; i += 1) {
    const row = (from + i) * n + from;
    let sum = 0;
    for (let j = 0; j < v.length; j += 1) sum += (data[row + j] as number) * (v[j] as number);
    w[i] = tau * sum;
    inner += tau * sum * (v[i] as number);
  }
  for (let i = 0; i < v.length; i += 1) w[i] = (w[i] as number) - 0.5 * tau * inner * (v[i] as number);
  for (let i = 0; i < v.length; i += 1) {
    const row = (from + i) * n + from;
    const [vi, wi] = [v[i] as number, w[i] as number];
    for (let j = 0; j < v.length; j += 1) {
      data[row + j] = (data[row + j] as number) - vi * (w[j] as number) - wi * (v[j] as number);
    }
  }
}

/** Rows from `from` on of the basis: B − τ v (vᵀ B). */
function reflectRows({ cols: n, data }: Matrix, { v, tau }: Reflector, from: number): void {
  const sums = new Float64Array(n);
  for (let i = 0; i < v.length; i += 1) {
    const [row, vi] = [(from + i) * n, v[i] as number];
    for (let j = 0; j < n; j += 1) sums[j] = (sums[j] as number) + vi * (data[row + j] as number);
  }
  for (let i = 0; i < v.length; i += 1) {
    const [row, factor] = [(from + i) * n, tau * (v[i] as number)];
    for (let j = 0; j < n; j += 1) data[row + j] = (data[row + j] as number) - factor * (sums[j] as number);
  }
}

/** QL steps until `low` is an eigenvalue of its own. */
function chase(diagonal: Float64Array, beside: Float64Array, basis: Matrix, low: number): void {
  for (let step = 0; ; step += 1) {
    let high = low;
    while (high < diagonal.length - 1 && !isNegligible(diagonal, beside, high)) high += 1;
    if (high === low) return;
    if (step === MAX_STEPS) throw new RangeError('eigenvalues did not converge');
    qlStep(diagonal, beside, basis, low, high);
  }
}

function isNegligible(diagonal: Float64Array, beside: Float64Array, i: number): boolean {
  const size = Math.abs(diagonal[i] as number) + Math.abs(diagonal[i + 1] as number);
  return Math.abs(beside[i] as number) <= Number.EPSILON * size;
}

/** One implicit QL step on low…high: rotations from the bottom up, applied to neighbouring rows of the basis. */
function qlStep(d: Float64Array, e: Float64Array, basis: Matrix, low: number, high: number): void {
  const half = ((d[low + 1] as number) - (d[low] as number)) / (2 * (e[low] as number));
  const root = Math.hypot(half, 1);
  let g = (d[high] as number) - (d[low] as number) + (e[low] as number) / (half + (half < 0 ? -root : root));
  let [sine, cosine, shift] = [1, 1, 0];
  for (let i = high - 1; i >= low; i -= 1) {
    const f = sine * (e[i] as number);
    const b = cosine * (e[i] as number);
    const r = Math.hypot(f, g);
    e[i + 1] = r;
    if (r === 0) {
      d[i + 1] = (d[i + 1] as number) - shift;
      e[high] = 0;
      return;
    }
    sine = f / r;
    cosine = g / r;
    const next = (d[i + 1] as number) - shift;
    const turn = ((d[i] as number) - next) * sine + 2 * cosine * b;
    shift = sine * turn;
    d[i + 1] = next + shift;
    g = cosine * turn - b;
    rotate(matrixRow(basis, i), matrixRow(basis, i + 1), cosine, sine);
  }
  d[low] = (d[low] as number) - shift;
  e[low] = g;
  e[high] = 0;
}

function rotate(x: Float64Array, y: Float64Array, cosine: number, sine: number): void {
  for (let i = 0; i < x.length; i += 1) {
    const [xi, yi] = [x[i] as number, y[i] as number];
    y[i] = sine * xi + cosine * yi;
    x[i] = cosine * xi - sine * yi;
  }
}

/** Signs of eigenvectors are free; this choice makes results the same wherever they come from. */
function withPositivePeak(vector: Float64Array): Float64Array {
  let peak = 0;
  for (const value of vector) if (Math.abs(value) > Math.abs(peak)) peak = value;
  return peak < 0 ? vector.map((value) => -value) : vector;
}
