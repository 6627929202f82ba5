import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { EngineExecutor } from '../../activities/engine/engine-executor.js';
import { readModel, writeModel } from '../../models/onnx/model-proto.js';
import { inferShapes } from '../../models/onnx/shape-inference.js';
import { gaussianTensor } from '../../models/tensors/random.js';
import { asFloat32, type Float32Tensor, float32, type Tensor } from '../../models/tensors/tensor.js';
import { floatFromQdq } from '../../quantization/conversion/float-from-qdq.js';
import {
  codeDifference,
  type QuantizerCase,
  quantizerModel,
  referenceQuantized,
  runQuantizer,
  SCHEME,
} from '../quantization/conversion/lowered-quantizer.js';
import { missingWebgpu } from './engine/webgpu-driver.js';

/**
 * Quantization on WebGPU: what finetuning computes (the float lowering) and what evaluation computes (the shipped file's
 * QuantizeLinear and DequantizeLinear in float), one quantizer each on equal inputs, against the CPU and the grid's definition.
 * Rounding is an addition and a subtraction there, which a shader compiler that treats float as real numbers would delete.
 */

/** WGSL allows 2.5 ulp of error in a division: values beside a tie may round to the neighbouring code. */
const LARGEST_CODE_DIFFERENCE = 1;
const LARGEST_SHARE = 1e-3;
/** codes · scale is a product of float32: a quotient of it by the scale is a whole number but for this. */
const WHOLE = 1e-5;

const TIMESTEPS = [951, 500, 20];
const CASES: Readonly<Record<string, QuantizerCase>> = {
  'unsigned ranges found at run time, by pixel and group': {
    dims: [2, 16, 8, 8],
    channelAxis: 1,
    scheme: { ...SCHEME, groupSize: 8 },
  },
  'signed ranges found at run time, by token': {
    dims: [2, 64, 16],
    channelAxis: 2,
    scheme: { ...SCHEME, symmetric: true },
  },
  'tables by timestep': {
    dims: [2, 16, 8, 8],
    channelAxis: 1,
    scheme: { ...SCHEME, ranges: 'timestep' },
    timesteps: TIMESTEPS,
    parameters: { scale: float32([3], [0.31, 0.23, 0.17]), zeroPoint: float32([3], [7, 4, 9]) },
  },
  'a static range of 8 bits': {
    dims: [2, 64, 16],
    channelAxis: 2,
    scheme: { ...SCHEME, bits: 8, ranges: 'static' },
    parameters: { scale: float32([1], [0.03]), zeroPoint: float32([1], [101]) },
  },
};
const TIMESTEP = [480, 999];

let webgpu: EngineExecutor;
let cpu: EngineExecutor;
let missing: string | undefined;

beforeAll(async () => {
  webgpu = await EngineExecutor.start({ device: 'webgpu', threads: 1 });
  cpu = await EngineExecutor.start({ device: 'cpu', threads: 1 });
  missing = await missingWebgpu(webgpu);
});
afterAll(() => Promise.all([webgpu.close(), cpu.close()]));

function activations(dims: readonly number[]): Float32Tensor {
  const drawn = gaussianTensor(17, 0, dims);
  return float32(
    dims,
    drawn.data.map((value) => 1.3 * value + 0.3),
  );
}

for (const [name, one] of Object.entries(CASES)) {
  describe(name, () => {
    const x = activations(one.dims);
    const { steps } = referenceQuantized(one, x, TIMESTEP);

    test('the shipped file in float gives the codes of QuantizeLinear on the CPU', async (context) => {
      if (missing !== undefined) return context.skip(missing);
      const expected = await runQuantizer(cpu, one, x, { timestep: TIMESTEP });
      expectCodes(await floatOnWebgpu(one, x), expected.values, steps);
    });

    test('the float lowering gives the same', async (context) => {
      if (missing !== undefined) return context.skip(missing);
      const found = await runQuantizer(webgpu, one, x, { lowering: 'float', timestep: TIMESTEP });
      const expected = await runQuantizer(cpu, one, x, { timestep: TIMESTEP });
      expectCodes(found.values, expected.values, steps);
    });
  });
}

test('ties round to the even code, and what is beyond the grid saturates', async (context) => {
  if (missing !== undefined) return context.skip(missing);
  const scale = 0.25;
  const dims = [2, 40];
  const one: QuantizerCase = {
    dims,
    channelAxis: 1,
    scheme: { ...SCHEME, symmetric: true, ranges: 'static' },
    parameters: { scale: float32([1], [scale]), zeroPoint: float32([1], [0]) },
  };
  const x = float32(
    dims,
    Float32Array.from({ length: 80 }, (_, index) => (index - 40 + 0.5) * scale),
  );
  const { codes, values } = referenceQuantized(one, x);
  expect(await runQuantizer(webgpu, one, x, { lowering: 'float' })).toEqual({ codes, values });
  expect(await floatOnWebgpu(one, x)).toEqual(values);
});

/** Values of the QDQ lowering, rewritten as evaluation rewrites a shipped file. */
async function floatOnWebgpu(one: QuantizerCase, x: Float32Tensor): Promise<Float32Array> {
  const qdq = readModel(quantizerModel(one, 'qdq', TIMESTEP.length));
  const rewritten = floatFromQdq(qdq, inferShapes(qdq, { x: one.dims, t: [TIMESTEP.length] }));
  const runnable = await webgpu.open(writeModel(rewritten));
  const feeds: Record<string, Tensor> = { x };
  if (runnable.inputNames.includes('t')) feeds.t = float32([TIMESTEP.length], TIMESTEP);
  const outputs = await runnable.run(feeds);
  await runnable.release();
  return asFloat32(outputs['out.values'] as Tensor).data;
}

function expectCodes(found: Float32Array, expected: Float32Array, steps: Float32Array): void {
  const { largest, share } = codeDifference(found, expected, steps);
  expect(largest).toBeLessThanOrEqual(LARGEST_CODE_DIFFERENCE + WHOLE);
  expect(share).toBeLessThanOrEqual(LARGEST_SHARE);
}
