import type { SampleStep } from '../../models/pipelines/sample-latents.js';
import { elementCount, type Float32Tensor, type Tensor, tensor } from '../../models/tensors/tensor.js';

/**
 * Compares a batch of trajectories with float ones, picture by picture and step by step: `energies` float64 [B′, K, 2], Σx² and
 * Σ(x − x̂)². Kept per picture, so that sums over pictures are made in one order whatever the batches were.
 */
export class PictureDifferences {
  private readonly energies: Float64Array;
  private readonly rows: number;
  private readonly steps: number;
  private readonly size: number;

  /** @param states x of the float trajectories behind every step, [B′, K, C, H, W] with B′ ≤ B: the first rows are compared */
  constructor(private readonly states: Float32Tensor) {
    const [rows = 0, steps = 0, ...rowDims] = states.dims;
    this.rows = rows;
    this.steps = steps;
    this.size = elementCount(rowDims);
    this.energies = new Float64Array(rows * steps * 2);
  }

  add({ stepIndex, next }: Pick<SampleStep, 'stepIndex' | 'next'>): void {
    for (let row = 0; row < this.rows; row += 1) {
      const place = row * this.steps + stepIndex;
      let [signal, noise] = [0, 0];
      for (let i = 0; i < this.size; i += 1) {
        const x = this.states.data[place * this.size + i] as number;
        signal += x * x;
        noise += (x - (next.data[row * this.size + i] as number)) ** 2;
      }
      this.energies.set([signal, noise], 2 * place);
    }
  }

  tensors(): Map<string, Tensor> {
    return new Map([['energies', tensor('float64', [this.rows, this.steps, 2], this.energies)]]);
  }
}
