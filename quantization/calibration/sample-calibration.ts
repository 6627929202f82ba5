import { type SampleLatentsOptions, sampleLatents } from '../../models/pipelines/sample-latents.js';
import { elementCount, type Float32Tensor, float32 } from '../../models/tensors/tensor.js';

export interface CalibrationSampling extends Omit<SampleLatentsOptions, 'onStep'> {
  /** Sampler steps that are kept, increasing. */
  readonly kept: readonly number[];
  readonly onStep?: () => void | Promise<void>;
}

/**
 * Samples a batch of float trajectories and keeps what the denoiser saw and said at the kept steps.
 * @returns samples [B, K, C, H, W] and outputs [B, K, branches, C, H, W], branch 0 without the prompt when there are two
 */
export async function sampleCalibration(
  options: CalibrationSampling,
): Promise<{ samples: Float32Tensor; outputs: Float32Tensor }> {
  const { latents, kept, negative } = options;
  const [rows = 0, ...rowDims] = latents.dims;
  const size = elementCount(rowDims);
  const branches = negative === null ? 1 : 2;
  const samples = new Float32Array(rows * kept.length * size);
  const outputs = new Float32Array(rows * kept.length * branches * size);
  await sampleLatents({
    ...options,
    onStep: async (step) => {
      await options.onStep?.();
      const slot = kept.indexOf(step.stepIndex);
      if (slot < 0) return;
      const said = step.negative === null ? [step.positive] : [step.negative, step.positive];
      for (let row = 0; row < rows; row += 1) {
        const at = row * kept.length + slot;
        const part = (value: Float32Tensor): Float32Array => value.data.subarray(row * size, (row + 1) * size);
        samples.set(part(step.sample), at * size);
        for (const [branch, value] of said.entries()) outputs.set(part(value), (at * branches + branch) * size);
      }
    },
  });
  return {
    samples: float32([rows, kept.length, ...rowDims], samples),
    outputs: float32([rows, kept.length, branches, ...rowDims], outputs),
  };
}
