import type { SampleStep } from '../../models/pipelines/sample-latents.js';
import { type Float32Tensor, float32, type Tensor, tensor } from '../../models/tensors/tensor.js';
import { ErrorEnergy } from '../metrics/error-energy.js';

/** Compares a batch of trajectories with float ones, step by step: `energies` float64 [K, 2], Σx² and Σ(x − x̂)². */
export class DifferenceCollector {
  private readonly energies: ErrorEnergy[];
  private readonly compared: number;

  /** @param states x of the float trajectories behind every step, [B′, K, C, H, W] with B′ ≤ B: the first rows are compared */
  constructor(private readonly states: Float32Tensor) {
    const [rows = 0, steps = 0] = states.dims;
    this.compared = rows;
    this.energies = Array.from({ length: steps }, () => new ErrorEnergy());
  }

  add({ stepIndex, next }: SampleStep): void {
    const [, steps = 0, ...rowDims] = this.states.dims;
    const size = rowDims.reduce((product, dim) => product * dim, 1);
    for (let row = 0; row < this.compared; row += 1) {
      const at = (row * steps + stepIndex) * size;
      const reference = float32(rowDims, this.states.data.subarray(at, at + size));
      this.energies[stepIndex]?.add(reference, float32(rowDims, next.data.subarray(row * size, (row + 1) * size)));
    }
  }

  tensors(): Map<string, Tensor> {
    const flat = this.energies.flatMap(({ signal, noise }) => [signal, noise]);
    return new Map([['energies', tensor('float64', [this.energies.length, 2], Float64Array.from(flat))]]);
  }
}

/** Sums of several batches' `energies`. */
export function mergedEnergies(parts: readonly Tensor[]): ErrorEnergy[] {
  const steps = parts[0]?.dims[0] ?? 0;
  return Array.from({ length: steps }, (_, step) => {
    const sum = new ErrorEnergy();
    for (const { data } of parts) {
      sum.signal += Number(data[2 * step]);
      sum.noise += Number(data[2 * step + 1]);
    }
    return sum;
  });
}
