import type { SampleStep } from '../../models/pipelines/sample-latents.js';
import { elementCount, type Float32Tensor, float32, type Tensor } from '../../models/tensors/tensor.js';
import type { EvaluationTriple } from './evaluation-triples.js';

/**
 * Keeps of a batch of float trajectories what others are compared with: `states` [B, K, C, H, W], x behind every step, and
 * of this batch's triples what the denoiser saw and said, `pairs.sample` and `pairs.output` [P, C, H, W].
 */
export class FloatCollector {
  private readonly states: Float32Array;
  private readonly samples: Float32Array;
  private readonly outputs: Float32Array;
  private readonly size: number;

  /** @param first index of the batch's first picture @param triples those of this batch alone */
  constructor(
    private readonly first: number,
    private readonly rows: number,
    private readonly steps: number,
    private readonly rowDims: readonly number[],
    private readonly triples: readonly EvaluationTriple[],
  ) {
    this.size = elementCount(rowDims);
    this.states = new Float32Array(rows * steps * this.size);
    this.samples = new Float32Array(triples.length * this.size);
    this.outputs = new Float32Array(triples.length * this.size);
  }

  add(step: SampleStep): void {
    for (let row = 0; row < this.rows; row += 1) {
      this.states.set(this.rowOf(step.next, row), (row * this.steps + step.stepIndex) * this.size);
    }
    const branches = step.negative === null ? [step.positive] : [step.negative, step.positive];
    for (const [slot, triple] of this.triples.entries()) {
      const said = branches[triple.branch];
      if (triple.step !== step.stepIndex || said === undefined) continue;
      const row = triple.image - this.first;
      this.samples.set(this.rowOf(step.sample, row), slot * this.size);
      this.outputs.set(this.rowOf(said, row), slot * this.size);
    }
  }

  tensors(): Map<string, Tensor> {
    const pairs = [this.triples.length, ...this.rowDims];
    return new Map([
      ['states', float32([this.rows, this.steps, ...this.rowDims], this.states)],
      ['pairs.sample', float32(pairs, this.samples)],
      ['pairs.output', float32(pairs, this.outputs)],
    ]);
  }

  private rowOf(value: Float32Tensor, row: number): Float32Array {
    return value.data.subarray(row * this.size, (row + 1) * this.size);
  }
}
