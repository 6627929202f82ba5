import type { Float32Tensor } from '../../models/tensors/tensor.js';

/** Streaming, mergeable sums Σx² and Σ(x − x̂)² in float64; relative-mse.ts and latent-sqnr.ts read them. */
export class ErrorEnergy {
  /** Σx² of the reference. */
  signal = 0;
  /** Σ(x − x̂)². */
  noise = 0;

  /** Adds a pair of equally shaped tensors; throws RangeError when the shapes differ. */
  add(reference: Float32Tensor, candidate: Float32Tensor): this {
    const { dims } = reference;
    if (dims.length !== candidate.dims.length || dims.some((dim, axis) => dim !== candidate.dims[axis])) {
      throw new RangeError(`shapes differ: [${dims.join(', ')}] and [${candidate.dims.join(', ')}]`);
    }
    let signal = 0;
    let noise = 0;
    for (let i = 0; i < reference.data.length; i += 1) {
      const x = reference.data[i] as number;
      signal += x * x;
      noise += (x - (candidate.data[i] as number)) ** 2;
    }
    this.signal += signal;
    this.noise += noise;
    return this;
  }

  /** Adds another shard's sums. */
  merge(other: ErrorEnergy): this {
    this.signal += other.signal;
    this.noise += other.noise;
    return this;
  }
}
