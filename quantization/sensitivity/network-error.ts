import type { Feeds, Runnable } from '../../models/executor.js';
import { floatOutput } from '../../models/pipelines/encode-prompts.js';
import type { Denoiser } from '../../models/pipelines/pipeline.js';
import { firstChannels } from '../../models/pipelines/sample-latents.js';
import type { Float32Tensor } from '../../models/tensors/tensor.js';
import type { SensitivityBatch } from './sensitivity-items.js';

/**
 * How far a changed network is from the float one, on the same inputs:
 *
 *   output = Σ ‖ε − ε̃‖² / Σ ‖ε‖²                  over all calls
 *   guided = Σ r_t ‖ε_g − ε̃_g‖² / Σ r_t ‖ε_g‖²    over all pairs of branches, ε_g = u + g (c − u)
 *
 * with r_t of calibration/step-weights.ts (1 when it was not measured). With one branch ε_g is ε.
 */
export interface NetworkError {
  readonly output: number;
  readonly guided: number;
}

export interface NetworkErrorContext {
  readonly denoiser: Denoiser;
  /** Guidance branches per pair, one after the other in a batch. */
  readonly branches: number;
  /** g; not used with one branch. */
  readonly guidance: number;
  /** r_t by step of the calibration set. */
  readonly stepWeights: readonly number[];
}

/** The float network's outputs on some batches, and errors against them. */
export class NetworkReference {
  private constructor(
    private readonly context: NetworkErrorContext,
    private readonly batches: readonly SensitivityBatch[],
    private readonly outputs: readonly Float32Tensor[],
    private readonly energy: Sums,
  ) {}

  /** Runs the network with `feeds` beside those of the batches. */
  static async record(
    runnable: Runnable,
    context: NetworkErrorContext,
    batches: readonly SensitivityBatch[],
    feeds: Feeds,
  ): Promise<NetworkReference> {
    const energy: Sums = { output: 0, guided: 0 };
    const outputs: Float32Tensor[] = [];
    for (const batch of batches) {
      const output = await outputOf(runnable, context.denoiser, { ...batch.feeds, ...feeds });
      addSquares(energy, context, batch, output.data);
      outputs.push(output);
    }
    return new NetworkReference(context, batches, outputs, energy);
  }

  /** The error of the network with `feeds` beside those of the batches. */
  async errorOf(runnable: Runnable, feeds: Feeds): Promise<NetworkError> {
    const sums: Sums = { output: 0, guided: 0 };
    for (const [index, batch] of this.batches.entries()) {
      const expected = this.outputs[index]?.data ?? new Float32Array(0);
      const found = await outputOf(runnable, this.context.denoiser, { ...batch.feeds, ...feeds });
      const difference = found.data.map((value, at) => value - (expected[at] as number));
      addSquares(sums, this.context, batch, difference);
    }
    return { output: sums.output / this.energy.output, guided: sums.guided / this.energy.guided };
  }
}

interface Sums {
  output: number;
  guided: number;
}

async function outputOf(runnable: Runnable, denoiser: Denoiser, feeds: Feeds): Promise<Float32Tensor> {
  const outputs = await runnable.run(feeds, [denoiser.output]);
  return firstChannels(floatOutput(outputs, denoiser.output), denoiser);
}

function addSquares(sums: Sums, context: NetworkErrorContext, batch: SensitivityBatch, data: Float32Array): void {
  const { branches, guidance, stepWeights } = context;
  const size = data.length / batch.items.length;
  for (let row = 0; row < batch.items.length; row += branches) {
    const weight = stepWeights[batch.items[row]?.step ?? 0] ?? 1;
    let guided = 0;
    for (let at = row * size; at < (row + 1) * size; at += 1) {
      const first = data[at] as number;
      const second = branches === 2 ? (data[at + size] as number) : first;
      const seen = branches === 2 ? first + guidance * (second - first) : first;
      guided += seen * seen;
      sums.output += branches === 2 ? first * first + second * second : first * first;
    }
    sums.guided += weight * guided;
  }
}
