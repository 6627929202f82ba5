import type { Runnable } from '../../models/executor.js';
import { asFloat32, type Float32Tensor } from '../../models/tensors/tensor.js';

/**
 * Walks the sampler with a denoiser that has `value` among its outputs, and keeps that value at every sampler step: all
 * trajectories and branches of the walk together.
 * @param walk samples from fixed noise with the denoiser it is given; calls `run` once per sampler step
 */
export async function recordFeatures(
  denoiser: Runnable,
  value: string,
  walk: (denoiser: Runnable) => Promise<unknown>,
): Promise<Float32Tensor[]> {
  const features: Float32Tensor[] = [];
  await walk({
    inputNames: denoiser.inputNames,
    outputNames: denoiser.outputNames,
    run: async (feeds, outputs = denoiser.outputNames) => {
      const found = await denoiser.run(feeds, [...new Set([...outputs, value])]);
      const feature = found[value];
      if (feature === undefined) throw new RangeError(`${value} was not computed`);
      features.push(asFloat32(feature));
      return found;
    },
    runKeeping: (feeds, outputs, keep) => denoiser.runKeeping(feeds, outputs, keep),
    release: async () => {},
  });
  return features;
}
