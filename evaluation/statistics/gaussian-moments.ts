import type { Matrix } from '../../models/linalg/matrix.js';
import type { Float32Tensor } from '../../models/tensors/tensor.js';

/**
 * Mean and covariance of rows that arrive in batches, float64.
 *
 * Within a batch the scatter Σ(x−m)(x−m)ᵀ is summed around the batch's own mean (two passes); batches and shards are joined
 * by Chan, Golub & LeVeque (1979): scatter = Sₐ + S_b + δδᵀ·nₐn_b/(nₐ+n_b), δ = m_b − mₐ. The covariance divides by n − 1.
 */
export class GaussianMoments {
  readonly dimension: number;
  private rows = 0;
  private readonly centre: Float64Array;
  private readonly scatter: Float64Array;

  constructor(dimension: number) {
    if (!Number.isInteger(dimension) || dimension < 1) throw new RangeError(`no dimension: ${dimension}`);
    this.dimension = dimension;
    this.centre = new Float64Array(dimension);
    this.scatter = new Float64Array(dimension * dimension);
  }

  /** Moments of all rows of [n, d] features. */
  static of(features: Float32Tensor): GaussianMoments {
    const moments = new GaussianMoments(features.dims[1] ?? 0);
    moments.add(features);
    return moments;
  }

  /** Rows seen. */
  get count(): number {
    return this.rows;
  }

  /** Adds the rows of [n, d] features; throws RangeError on another dimension. */
  add(features: Float32Tensor): void {
    const [n = 0, d = 0] = features.dims;
    if (features.dims.length !== 2 || d !== this.dimension) {
      throw new RangeError(`features must be [n, ${this.dimension}], got [${features.dims.join(', ')}]`);
    }
    if (n === 0) return;
    const mean = columnMeans(features.data, n, d);
    const scatter = new Float64Array(d * d);
    const centred = new Float64Array(d);
    for (let row = 0; row < n; row += 1) {
      for (let j = 0; j < d; j += 1) centred[j] = (features.data[row * d + j] as number) - (mean[j] as number);
      addOuterProduct(scatter, centred, 1);
    }
    this.join(n, mean, scatter);
  }

  /** Adds n rows whose mean [d] and scatter Σ(x−m)(x−m)ᵀ [d, d] are known. */
  addScatter(n: number, mean: Float64Array, scatter: Float64Array): void {
    if (mean.length !== this.dimension || scatter.length !== this.dimension ** 2) {
      throw new RangeError(`a mean of ${this.dimension} features and their scatter are wanted, got ${mean.length}`);
    }
    if (n > 0) this.join(n, mean, scatter);
  }

  /** Adds everything another accumulator saw; the other is left as it is. */
  merge(other: GaussianMoments): void {
    if (other.dimension !== this.dimension) {
      throw new RangeError(`dimensions differ: ${this.dimension} and ${other.dimension}`);
    }
    if (other.rows > 0) this.join(other.rows, other.centre, other.scatter);
  }

  /** Mean of the rows [d]. */
  mean(): Float64Array {
    if (this.rows === 0) throw new RangeError('no rows yet');
    return Float64Array.from(this.centre);
  }

  /** Covariance [d, d] with divisor n − 1. */
  covariance(): Matrix {
    if (this.rows < 2) throw new RangeError(`a covariance needs two rows, got ${this.rows}`);
    const data = this.scatter.map((value) => value / (this.rows - 1));
    return { rows: this.dimension, cols: this.dimension, data };
  }

  private join(n: number, mean: Float64Array, scatter: Float64Array): void {
    const total = this.rows + n;
    const delta = mean.map((value, j) => value - (this.centre[j] as number));
    for (let i = 0; i < scatter.length; i += 1) this.scatter[i] = (this.scatter[i] as number) + (scatter[i] as number);
    addOuterProduct(this.scatter, delta, (this.rows * n) / total);
    for (let j = 0; j < delta.length; j += 1) {
      this.centre[j] = (this.centre[j] as number) + ((delta[j] as number) * n) / total;
    }
    this.rows = total;
  }
}

/** Mean of each column of row-major [n, d] numbers, float64; a second pass takes out the first one's rounding. */
export function columnMeans(data: ArrayLike<number>, n: number, d: number): Float64Array {
  const mean = new Float64Array(d);
  for (let pass = 0; pass < 2; pass += 1) {
    const sum = new Float64Array(d);
    for (let row = 0; row < n; row += 1) {
      for (let j = 0; j < d; j += 1) {
        sum[j] = (sum[j] as number) + ((data[row * d + j] as number) - (mean[j] as number));
      }
    }
    for (let j = 0; j < d; j += 1) mean[j] = (mean[j] as number) + (sum[j] as number) / n;
  }
  return mean;
}

/** target += factor · x·xᵀ. */
function addOuterProduct(target: Float64Array, x: Float64Array, factor: number): void {
  const d = x.length;
  for (let i = 0; i < d; i += 1) {
    const left = factor * (x[i] as number);
    if (left === 0) continue;
    const offset = i * d;
    for (let j = 0; j < d; j += 1) target[offset + j] = (target[offset + j] as number) + left * (x[j] as number);
  }
}
