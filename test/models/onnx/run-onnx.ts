import { InferenceSession, Tensor as OrtTensor } from 'onnxruntime-node';
import { type Tensor, tensor, zeros } from '../../../models/tensors/tensor.js';

/** Runs a serialized model exactly as written on one CPU thread, in this process. */
export async function runOnnx(
  model: Uint8Array,
  feeds: Readonly<Record<string, Tensor>>,
): Promise<Record<string, Tensor>> {
  const session = await InferenceSession.create(model, {
    executionProviders: ['cpu'],
    graphOptimizationLevel: 'disabled',
    intraOpNumThreads: 1,
    interOpNumThreads: 1,
    logSeverityLevel: 3,
  });
  try {
    const ortFeeds = Object.fromEntries(
      Object.entries(feeds).map(([name, value]) => [
        name,
        new OrtTensor(value.type, value.data as Float32Array, value.dims),
      ]),
    );
    const results = await session.run(ortFeeds);
    return Object.fromEntries(
      Object.entries(results).map(([name, value]) => [
        name,
        tensor(value.type as 'float32', value.dims, value.data as Float32Array),
      ]),
    );
  } finally {
    await session.release();
  }
}

/** Deterministic inputs of any type: integers 0…5, floats in [-1, 1). */
export function inputOf(type: Tensor['type'], dims: readonly number[]): Tensor {
  const result = zeros(type, dims);
  for (let index = 0; index < result.data.length; index += 1) {
    const unit = Math.abs(Math.sin(12.9898 * (index + 1)) * 43758.5453) % 1;
    if (result.data instanceof BigInt64Array || result.data instanceof BigUint64Array)
      result.data[index] = BigInt(Math.floor(unit * 6));
    else if (type === 'float16') result.data[index] = 0x3800 + Math.floor(unit * 0x300);
    else result.data[index] = type.startsWith('float') ? unit * 2 - 1 : Math.floor(unit * 6);
  }
  return result;
}
