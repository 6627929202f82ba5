import { dot, type Matrix, matrixRow, zeroMatrix } from '../../models/linalg/matrix.js';
import { permutation, uniforms } from '../../models/tensors/random.js';
import type { MatrixProducts } from '../linalg/matrix-products.js';

/**
 * Two-sample permutation test with the unbiased squared maximum mean discrepancy (Gretton et al. 2012) of a given kernel matrix:
 *   MMD² = uᵀKu/(n(n−1)) + vᵀKv/(m(m−1)) − 2·uᵀKv/(nm),   diag K = 0, u and v = 1 − u marking the sets.
 * When both sets come from one distribution, every labelling is equally likely, so p = (1 + #{MMD²ₖ ≥ MMD²}) / (1 + permutations)
 * is at most α with probability at most α, whatever the kernel. Labellings are rows of one matrix: the cost is one product.
 */
export interface PermutationTest {
  /** MMD² of the sets as they are. */
  readonly statistic: number;
  readonly pValue: number;
  readonly permutations: number;
}

export interface PermutationOptions {
  readonly seed: number;
  readonly permutations: number;
  readonly products: MatrixProducts;
  /**
   * Of each row of the first set, its partner in the second (0 … m − 1), for sets made of the same seeds: partners swap sides
   * together, which keeps their likeness on both sides of the comparison. Without, all rows are shuffled; on pairs that are
   * alike that test is valid but blind: p stays near 1. Needs n = m.
   */
  readonly partners?: ArrayLike<number>;
}

/** Labellings of one product. */
const BATCH = 512;
/** First stream of the seed: other users of the seed count from 0. */
const FIRST_STREAM = 2 ** 40;
/** Statistics closer than this share of the largest kernel value are equal: thousands of float64 sums of that size. */
const TIE = 1e-12;

/**
 * @param kernel [n + m, n + m], symmetric; the diagonal is not looked at
 * @param n rows of the first set, which come first
 * @throws RangeError when a set has less than two rows
 */
export async function permutationTest(
  kernel: Matrix,
  n: number,
  options: PermutationOptions,
): Promise<PermutationTest> {
  const total = kernel.rows;
  if (n < 2 || total - n < 2) throw new RangeError(`a permutation test needs two rows a side: ${n} and ${total - n}`);
  const { permutations } = options;
  const { statistics, scale } = mmdOfLabels(kernel, n, options.products);
  const own = Float64Array.from({ length: total }, (_, i) => (i < n ? 1 : 0));
  const [statistic = 0] = await statistics([own]);
  let asLarge = 0;
  for (let first = 0; first < permutations; first += BATCH) {
    const count = Math.min(BATCH, permutations - first);
    const labels = Array.from({ length: count }, (_, k) => labelling(total, n, first + k, options));
    for (const value of await statistics(labels)) if (value >= statistic - TIE * scale) asLarge += 1;
  }
  return { statistic, pValue: (1 + asLarge) / (1 + permutations), permutations };
}

/** Row k of the labellings: 1 for rows that count as the first set's. */
function labelling(total: number, n: number, k: number, { seed, partners }: PermutationOptions): Float64Array {
  const labels = new Float64Array(total);
  const stream = FIRST_STREAM + k;
  if (partners === undefined) {
    for (const row of permutation(seed, stream, total).subarray(0, n)) labels[row] = 1;
    return labels;
  }
  if (partners.length !== n || total !== 2 * n) throw new RangeError(`${partners.length} partners for ${n} rows`);
  const coins = uniforms(seed, stream, n);
  for (let row = 0; row < n; row += 1) {
    if ((coins[row] as number) < 0.5) labels[row] = 1;
    else labels[n + (partners[row] as number)] = 1;
  }
  return labels;
}

function mmdOfLabels(kernel: Matrix, n: number, products: MatrixProducts) {
  const total = kernel.rows;
  const m = total - n;
  const diagonal = Float64Array.from({ length: total }, (_, i) => kernel.data[i * total + i] as number);
  const sums = Float64Array.from({ length: total }, (_, i) => matrixRow(kernel, i).reduce((a, b) => a + b, 0)).map(
    (sum, i) => sum - (diagonal[i] as number),
  );
  const all = sums.reduce((a, b) => a + b, 0);
  const scale = kernel.data.reduce((largest, value) => Math.max(largest, Math.abs(value)), 0);
  const statistics = async (labels: readonly Float64Array[]): Promise<number[]> => {
    const marks = zeroMatrix(labels.length, total);
    for (const [row, label] of labels.entries()) marks.data.set(label, row * total);
    const weighed = await products.timesTransposed(marks, kernel);
    return labels.map((label, row) => {
      const inside = dot(matrixRow(weighed, row), label) - dot(diagonal, label);
      const outward = dot(sums, label) - inside;
      const outside = all - 2 * outward - inside;
      return inside / (n * (n - 1)) + outside / (m * (m - 1)) - (2 * outward) / (n * m);
    });
  };
  return { statistics, scale };
}
