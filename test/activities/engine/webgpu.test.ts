import { afterAll, beforeAll, expect, test } from 'vitest';
import { EngineExecutor } from '../../../activities/engine/engine-executor.js';
import { runSelfTest } from '../../../activities/engine/self-test.js';
import { gaussianTensor } from '../../../models/tensors/random.js';
import { asFloat32, type Tensor } from '../../../models/tensors/tensor.js';
import { convMatMulSoftmax, doubleProduct } from './models.js';
import { missingWebgpu } from './webgpu-driver.js';

/** WebGPU for real; see webgpu-driver.ts for machines without a driver. */

/** Largest relative difference of a probability: float32 sums of 72 and 4096 products in another order, then exp. */
const RELATIVE_TOLERANCE = 1e-3;
/** Probabilities below this are compared absolutely. */
const SMALL_PROBABILITY = 1e-6;

let webgpu: EngineExecutor;
let missing: string | undefined;

beforeAll(async () => {
  webgpu = await EngineExecutor.start({ device: 'webgpu', threads: 1 });
  missing = await missingWebgpu(webgpu);
});

afterAll(async () => {
  await webgpu.close();
});

test('convolution, matrix product and softmax run on webgpu and agree with the CPU', async (context) => {
  if (missing !== undefined) return context.skip(missing);
  const x = gaussianTensor(7, 0, [2, 8, 16, 16]);
  const cpu = await EngineExecutor.start({ device: 'cpu', threads: 1 });
  const expected = (await (await cpu.open(convMatMulSoftmax())).run({ x })).y as Tensor;
  await cpu.close();
  const session = await webgpu.open(convMatMulSoftmax());
  // The first run is the profiled one, which rejects unless the nodes ran on the device; the second is an ordinary one.
  for (const run of ['profiled', 'ordinary']) {
    const { y } = await session.run({ x });
    expect(y?.dims, run).toEqual([2, 64]);
    for (const [i, probability] of asFloat32(expected).data.entries()) {
      const difference = Math.abs(Number(y?.data[i]) - probability);
      expect(difference, `${run} ${i}`).toBeLessThanOrEqual(
        RELATIVE_TOLERANCE * Math.max(probability, SMALL_PROBABILITY),
      );
    }
  }
  await session.release();
});

test('an operator that webgpu lacks for a type is an error that names the node, not a silent run on the CPU', async (context) => {
  if (missing !== undefined) return context.skip(missing);
  const session = await webgpu.open(doubleProduct(64));
  const x = gaussianTensor(7, 1, [64, 64]);
  await expect(session.run({ x })).rejects.toMatchObject({
    kind: 'DeviceUnavailable',
    message: expect.stringContaining("MatMul 'doubleProduct' on CPUExecutionProvider"),
  });
});

test('the self-test passes on webgpu', async (context) => {
  if (missing !== undefined) return context.skip(missing);
  await runSelfTest(webgpu);
});
