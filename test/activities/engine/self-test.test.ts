import { InferenceSession, Tensor as OrtTensor } from 'onnxruntime-node';
import { expect, test } from 'vitest';
import { EngineExecutor } from '../../../activities/engine/engine-executor.js';
import { runSelfTest } from '../../../activities/engine/self-test.js';
import { sessionOptions } from '../../../activities/engine/session-factory.js';
import type { Executor, Feeds, ModelFile, OpenOptions, Runnable } from '../../../models/executor.js';
import type { Tensor } from '../../../models/tensors/tensor.js';

type Extra = NonNullable<InferenceSession.SessionOptions['extra']>;

/** As much of an executor as the self-test uses, in this process, with the factory's options but other `extra` ones. */
function executorWith(extra: Extra): Executor {
  const unused = (): never => {
    throw new Error('the self-test does not use this');
  };
  return {
    device: 'cpu',
    async open(model: Uint8Array | ModelFile, options: OpenOptions = {}): Promise<Runnable> {
      const optimization = options.optimization ?? 'all';
      const guarded = sessionOptions({ device: 'cpu', threads: 1, spinning: false, optimization });
      const session = await InferenceSession.create(model as Uint8Array, { ...guarded, extra });
      const run = async (feeds: Feeds): Promise<Record<string, Tensor>> => {
        const x = feeds.x as Tensor;
        const y = (await session.run({ x: new OrtTensor('float32', x.data as Float32Array, x.dims) })).y as OrtTensor;
        return { y: { type: 'float32', dims: y.dims, data: y.data as Float32Array } };
      };
      const { inputNames, outputNames } = session;
      return { inputNames, outputNames, run, runKeeping: unused, release: () => session.release() };
    },
    upload: unused,
    download: unused,
    free: unused,
  };
}

test("the engine's sessions pass the self-test", async () => {
  const engine = await EngineExecutor.start({ device: 'cpu', threads: 1 });
  await runSelfTest(engine);
  await engine.close();
});

test('sessions without the guards fail it, on every pattern', async () => {
  const failure = await runSelfTest(executorWith({})).catch((error: Error) => error);
  expect(failure).toMatchObject({ kind: 'Internal' });
  expect(String(failure)).toContain('Relu before QuantizeLinear to INT4 is kept');
  expect(String(failure)).toContain('Relu before QuantizeLinear to UINT4 with a zero point is kept');
  expect(String(failure)).toContain('MatMul with INT4 weights keeps float activations');
});

test('each guard alone is not enough, both together are', async () => {
  const optimization = { disable_specified_optimizers: 'ReluQuantRewrite' };
  const session = { disable_quant_qdq: '1' };
  await expect(runSelfTest(executorWith({ optimization }))).rejects.toThrow('MatMul with INT4 weights');
  await expect(runSelfTest(executorWith({ session }))).rejects.toThrow('Relu before QuantizeLinear');
  await runSelfTest(executorWith({ optimization, session }));
});
