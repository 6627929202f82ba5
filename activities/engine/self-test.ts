import { NibbleflowError } from '../../contracts/errors.js';
import type { Device, Executor, OpenOptions } from '../../models/executor.js';
import { attribute, Graph, initializerFromTensor, node } from '../../models/onnx/graph.js';
import { writeModel } from '../../models/onnx/model-proto.js';
import { gaussianTensor } from '../../models/tensors/random.js';
import { asFloat32, type Float32Tensor, float32, type Tensor } from '../../models/tensors/tensor.js';
import { roundHalfToEven } from '../../quantization/formats/integer-grid.js';

/**
 * Compares the session factory's optimized sessions with sessions that run graphs as written, on the patterns that
 * onnxruntime is known to miscompile for 4-bit types (see session-factory.ts), and a device's rounding with its definition.
 * Cheap enough for every run.
 */

/**
 * Largest allowed difference relative to the largest output. Optimized sessions may add up in another order (a few times the
 * 6e-8 of float32). Measured without the guards: 1.1 for the dropped Relu, 7e-3 for the 8-bit activations.
 */
const RELATIVE_TOLERANCE = 1e-5;

interface Check {
  readonly name: string;
  /** Devices whose provider implements the pattern: WebGPU cannot quantize activations to INT4. */
  readonly devices: readonly Device[];
  readonly model: () => Uint8Array;
  readonly input: () => Float32Tensor;
  /** What comes out by definition; without it, the unoptimized session says. */
  readonly expected?: (x: Float32Tensor) => Float32Tensor;
}

const ROWS = 8;
const CHANNELS = 64;
const GROUP_SIZE = 32;

const CHECKS: readonly Check[] = [
  {
    name: 'Relu before QuantizeLinear to INT4 is kept',
    devices: ['cpu'],
    model: () => reluQuantize('int4', 0),
    input: () => gaussianTensor(4, 0, [ROWS, CHANNELS]),
  },
  {
    name: 'Relu before QuantizeLinear to UINT4 with a zero point is kept',
    devices: ['cpu'],
    model: () => reluQuantize('uint4', 8),
    input: () => gaussianTensor(4, 1, [ROWS, CHANNELS]),
  },
  {
    name: 'MatMul with INT4 weights keeps float activations',
    devices: ['cpu', 'webgpu', 'cuda'],
    model: dequantizeMatMul,
    input: () => gaussianTensor(4, 2, [ROWS, CHANNELS]),
  },
  {
    // Finetuning and WebGPU's evaluation round like this; a shader compiler with "fast math" would remove it.
    name: 'Adding and subtracting 1.5 · 2²³ rounds',
    devices: ['cpu', 'webgpu', 'cuda'],
    model: addSubtract,
    input: () =>
      float32(
        [ROWS, CHANNELS],
        Array.from({ length: ROWS * CHANNELS }, (_, i) => (i - 200) / 8),
      ),
    expected: (x) => float32(x.dims, x.data.map(roundHalfToEven)),
  },
];

/** Throws NibbleflowError('Internal') naming every pattern that `executor` computes differently when it optimizes. */
export async function runSelfTest(executor: Executor): Promise<void> {
  const failed: string[] = [];
  for (const check of CHECKS) {
    if (!check.devices.includes(executor.device)) continue;
    const model = check.model();
    const x = check.input();
    const expected = check.expected?.(x) ?? (await runOnce(executor, model, x, { optimization: 'disabled' }));
    const optimized = await runOnce(executor, model, x, { optimization: 'all' });
    const difference = relativeDifference(optimized, expected);
    if (!(difference <= RELATIVE_TOLERANCE))
      failed.push(`${check.name}: off by ${difference.toPrecision(3)} of the largest output`);
  }
  if (failed.length > 0) {
    throw new NibbleflowError(
      'Internal',
      `onnxruntime changes 4-bit results on ${executor.device}:\n  ${failed.join('\n  ')}`,
      {
        fix: `Install the onnxruntime-node version that package.json names${executor.device === 'cpu' ? '' : ', or choose --device cpu'}.`,
      },
    );
  }
}

async function runOnce(executor: Executor, model: Uint8Array, x: Tensor, options: OpenOptions): Promise<Float32Tensor> {
  const session = await executor.open(model, options);
  try {
    const { y } = await session.run({ x }, ['y']);
    if (y === undefined) throw new Error('the self-test model has no output y');
    return asFloat32(y);
  } finally {
    await session.release();
  }
}

/** max |a − b| / max |b|. */
function relativeDifference(a: Float32Tensor, b: Float32Tensor): number {
  let difference = 0;
  let largest = 0;
  for (const [i, expected] of b.data.entries()) {
    difference = Math.max(difference, Math.abs((a.data[i] ?? Number.NaN) - expected));
    largest = Math.max(largest, Math.abs(expected));
  }
  return difference / largest;
}

/** y = dequantize(quantize(relu(x))) on a 4-bit grid. */
function reluQuantize(type: 'int4' | 'uint4', zeroPoint: number): Uint8Array {
  const graph = graphOfXAndY();
  graph.addInitializer(initializerFromTensor('scale', float32([], [0.25])));
  graph.addInitializer({ name: 'zeroPoint', type, dims: [], raw: Uint8Array.of(zeroPoint) });
  graph.nodes = [
    node('Relu', ['x'], ['r'], { name: 'relu' }),
    node('QuantizeLinear', ['r', 'scale', 'zeroPoint'], ['q'], { name: 'quantize' }),
    node('DequantizeLinear', ['q', 'scale', 'zeroPoint'], ['y'], { name: 'dequantize' }),
  ];
  return writeModel(graph);
}

/** y = x · dequantize(w), w in INT4 with a scale per output channel and group of inputs. */
function dequantizeMatMul(): Uint8Array {
  const graph = graphOfXAndY();
  const groups = CHANNELS / GROUP_SIZE;
  const packed = Uint8Array.from({ length: (CHANNELS * CHANNELS) / 2 }, (_, i) => (i * 73 + 29) & 0xff);
  const scales = Float32Array.from({ length: groups * CHANNELS }, (_, i) => 0.01 * (1 + (i % 7)));
  graph.addInitializer({ name: 'w', type: 'int4', dims: [CHANNELS, CHANNELS], raw: packed });
  graph.addInitializer(initializerFromTensor('scales', float32([groups, CHANNELS], scales)));
  const blocks = { axis: attribute.int(0), block_size: attribute.int(GROUP_SIZE) };
  graph.nodes = [
    node('DequantizeLinear', ['w', 'scales'], ['d'], { name: 'dequantize', attributes: blocks }),
    node('MatMul', ['x', 'd'], ['y'], { name: 'matmul' }),
  ];
  return writeModel(graph);
}

/** y = (x + c) − c. */
function addSubtract(): Uint8Array {
  const graph = graphOfXAndY();
  graph.addInitializer(initializerFromTensor('shift', float32([], [12_582_912])));
  graph.nodes = [
    node('Add', ['x', 'shift'], ['shifted'], { name: 'add' }),
    node('Sub', ['shifted', 'shift'], ['y'], { name: 'subtract' }),
  ];
  return writeModel(graph);
}

function graphOfXAndY(): Graph {
  const graph = new Graph();
  graph.inputs = [{ name: 'x', type: 'float32', shape: [ROWS, CHANNELS] }];
  graph.outputs = [{ name: 'y', type: 'float32', shape: [ROWS, CHANNELS] }];
  return graph;
}
