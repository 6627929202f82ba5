import { InferenceSession, Tensor as OrtTensor } from 'onnxruntime-node';
import { type Tensor, tensor } from '../../../models/tensors/tensor.js';

/** What the options are; one thread, because tests share their cores (results of a kernel do not depend on it). */
const OPTIONS = {
  default: { intraOpNumThreads: 1 },
  disabled: { intraOpNumThreads: 1, graphOptimizationLevel: 'disabled' },
} as const;

/** onnxruntime as anybody else would use it: default session options, or the graph exactly as written. */
export async function runStock(
  model: Uint8Array,
  feeds: Readonly<Record<string, Tensor>>,
  options: keyof typeof OPTIONS,
): Promise<Record<string, Tensor>> {
  const session = await InferenceSession.create(model, OPTIONS[options]);
  try {
    const ortFeeds = Object.fromEntries(
      session.inputNames.map((name) => {
        const value = feeds[name];
        if (value === undefined) throw new Error(`no feed for ${name}`);
        return [name, new OrtTensor(value.type, value.data as Float32Array, value.dims)];
      }),
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
