import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { writeModel } from '../../../models/onnx/model-proto.js';
import { gaussianTensor } from '../../../models/tensors/random.js';
import { ActivationObservers } from '../../../quantization/calibration/activation-observers.js';
import { observedValues } from '../../../quantization/calibration/observe-batch.js';
import { roundParameters } from '../../../quantization/rounding/round-parameters.js';
import { bundledRecipe, convertZoo, prepareZoo } from '../quantized-zoo.js';

/**
 * The measured recipes give the model that was measured: what is added to the product leaves their bytes alone. A change that
 * is meant to change them measures again and replaces the digests.
 */
const DIGESTS = {
  w4a4: '8a79553122f0f0dc7c45da1a37697d7f19701ac9f9c76e891b28a3f914820a09',
  'w4a4-dynamic': 'e58ab175abcf4a5a93e0922457156581f42425d554c97edd1321d103c92be7aa',
} as const;

const TIMESTEPS = [951, 501, 1];

/** sha256 of the zoo's denoiser under a recipe, ranges from made-up activations, so that no runtime is involved. */
async function digestOf(name: keyof typeof DIGESTS): Promise<string> {
  const prepared = prepareZoo(bundledRecipe(name));
  const observers = new ActivationObservers();
  for (const [stream, value] of observedValues(prepared.plan).entries()) {
    for (const timestep of TIMESTEPS) observers.observe(value, timestep, gaussianTensor(timestep, stream, [256]).data);
  }
  const { graph, plan } = prepared;
  const parameters = await roundParameters({ graph, plan, observers, timesteps: TIMESTEPS });
  return createHash('sha256')
    .update(writeModel(convertZoo(prepared, parameters)))
    .digest('hex');
}

describe('the recipes that were measured', () => {
  for (const name of ['w4a4', 'w4a4-dynamic'] as const) {
    it(`${name} still converts to the same bytes`, async () => {
      expect(await digestOf(name)).toBe(DIGESTS[name]);
    });
  }
});
