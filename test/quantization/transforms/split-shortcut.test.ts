import { readFileSync } from 'node:fs';
import * as ort from 'onnxruntime-node';
import { beforeAll, describe, expect, test } from 'vitest';
import { attribute, Graph, initializerFromTensor, type Node, node } from '../../../models/onnx/graph.js';
import { writeModel } from '../../../models/onnx/model-proto.js';
import { inferShapes } from '../../../models/onnx/shape-inference.js';
import { tensorFromNpy } from '../../../models/tensors/npy.js';
import { asFloat32, type Float32Tensor, float32 } from '../../../models/tensors/tensor.js';
import {
  affineParameters,
  dequantize,
  type GridParameters,
  quantize,
} from '../../../quantization/formats/integer-grid.js';
import { splitShortcuts } from '../../../quantization/transforms/split-shortcut.js';
import { zooDenoiser } from '../zoo-denoiser.js';

const SHORTCUTS = [
  'up_blocks.0/resnets.0',
  'up_blocks.0/resnets.1',
  'up_blocks.1/resnets.0',
  'up_blocks.1/resnets.1',
].map((block) => `/unet/${block}/conv_shortcut/Conv`);

/**
 * Two float32 sums of ≤ 256 products in another order differ by about √256 · 2⁻²⁴ ≈ 1e-6 of the terms' size; the network
 * behind a shortcut passes that on about unchanged. 2e-5 of the largest output leaves a factor of twenty.
 */
const RELATIVE_TOLERANCE = 2e-5;

/** Start noise and a text-like conditioning at a late timestep, where the network does most of its work. */
const TIMESTEP = 951n;

async function outputsOf(graph: Graph, extra: readonly string[] = []): Promise<Record<string, Float32Tensor>> {
  const exposed = graph.clone();
  exposed.outputs = [...graph.outputs, ...extra.map((name) => ({ name, type: 'float32' as const, shape: null }))];
  const session = await ort.InferenceSession.create(writeModel(exposed), {
    intraOpNumThreads: 1,
    interOpNumThreads: 1,
    graphOptimizationLevel: 'disabled',
    logSeverityLevel: 3,
  });
  try {
    const golden = new URL('../../golden/emoji-t2i/', import.meta.url);
    const latents = tensorFromNpy(new Uint8Array(readFileSync(new URL('latents.npy', golden))));
    const text = tensorFromNpy(new Uint8Array(readFileSync(new URL('text_last_hidden_state.npy', golden))));
    const outputs = await session.run({
      sample: ortTensor(firstTwoRows(asFloat32(latents))),
      timestep: new ort.Tensor('int64', BigInt64Array.of(TIMESTEP), [1]),
      encoder_hidden_states: ortTensor(firstTwoRows(asFloat32(text))),
    });
    return Object.fromEntries(
      Object.entries(outputs).map(([name, value]) => [name, float32(value.dims, value.data as Float32Array)]),
    );
  } finally {
    await session.release();
  }
}

function firstTwoRows(value: Float32Tensor): Float32Tensor {
  const [rows = 0, ...rest] = value.dims;
  return float32([2, ...rest], value.data.slice(0, (2 * value.data.length) / rows));
}

function ortTensor(value: Float32Tensor): ort.Tensor {
  return new ort.Tensor('float32', value.data, [...value.dims]);
}

describe('splitting the zoo denoiser', () => {
  const { graph, shapes } = zooDenoiser();
  const split = graph.clone();
  const result = splitShortcuts(split, shapes);

  test('finds the four up-path shortcuts by structure, and only them', () => {
    expect(result).toEqual({ count: 4, convs: SHORTCUTS });
  });

  test('leaves other readers of the concatenation alone and reads each part directly', () => {
    const concat = graph.producerOf('/unet/up_blocks.1/Concat_1_output_0') as Node;
    const before = graph
      .consumersOf('/unet/up_blocks.1/Concat_1_output_0')
      .filter((reader) => reader.opType !== 'Conv');
    const after = split.consumersOf('/unet/up_blocks.1/Concat_1_output_0');
    expect(after.map((reader) => reader.name)).toEqual(before.map((reader) => reader.name));
    const name = '/unet/up_blocks.1/resnets.1/conv_shortcut/Conv';
    expect(split.nodeByName(`${name}.part0`)?.inputs[0]).toBe(concat.inputs[0]);
    expect(split.nodeByName(`${name}.part1`)?.inputs).toEqual([
      concat.inputs[1],
      'unet.up_blocks.1.resnets.1.conv_shortcut.weight.part1',
    ]);
    expect(split.initializers.has('unet.up_blocks.1.resnets.1.conv_shortcut.weight')).toBe(false);
  });

  test('a second time finds nothing', () => {
    const again = split.clone();
    expect(splitShortcuts(again, shapes).count).toBe(0);
    expect(again.nodes).toHaveLength(split.nodes.length);
  });

  describe('run by onnxruntime', () => {
    let original: Record<string, Float32Tensor>;
    let parts: readonly string[];

    beforeAll(async () => {
      parts = graph.producerOf('/unet/up_blocks.1/Concat_1_output_0')?.inputs ?? [];
      original = await outputsOf(graph, parts);
    });

    test('gives the float output of the original', async () => {
      const changed = await outputsOf(split);
      const expected = original.out_sample as Float32Tensor;
      const actual = changed.out_sample as Float32Tensor;
      const largest = expected.data.reduce((max, value) => Math.max(max, Math.abs(value)), 0);
      const worst = expected.data.reduce(
        (max, value, index) => Math.max(max, Math.abs(value - (actual.data[index] ?? 0))),
        0,
      );
      expect(largest).toBeGreaterThan(0.1);
      expect(worst).toBeLessThanOrEqual(RELATIVE_TOLERANCE * largest);
    });

    test('raises the SQNR of the smaller half at 4 bit: each part gets its own range', () => {
      const values = parts.map((part) => original[part] as Float32Tensor);
      const ranges = values.map((value) => ({ min: Math.min(...value.data), max: Math.max(...value.data) }));
      const joint = { min: Math.min(...ranges.map((one) => one.min)), max: Math.max(...ranges.map((one) => one.max)) };
      const widths = ranges.map((range) => range.max - range.min);
      const smaller = widths.indexOf(Math.min(...widths));
      const value = values[smaller] as Float32Tensor;
      const gain = sqnrDb(value, ranges[smaller] ?? joint) - sqnrDb(value, joint);
      const widthRatio = (joint.max - joint.min) / Math.min(...widths);
      expect(widthRatio).toBeGreaterThan(1.5);
      /** A grid k times finer has 20·log10(k) dB less error; half of that is asked, since codes near 0 are few here. */
      expect(gain).toBeGreaterThan(10 * Math.log10(widthRatio));
    });
  });
});

/** 10·log10(Σx² / Σ(x − x̂)²) on the unsigned 4-bit grid over a range. */
function sqnrDb(value: Float32Tensor, range: { readonly min: number; readonly max: number }): number {
  const { scale, zeroPoint } = affineParameters(range.min, range.max, 4);
  const grid: GridParameters = {
    bits: 4,
    signed: false,
    scale: float32([], [scale]),
    zeroPoint: [zeroPoint],
    axis: null,
  };
  const rounded = dequantize(quantize(value, grid), value.dims, grid);
  const signal = value.data.reduce((sum, x) => sum + x * x, 0);
  const noise = value.data.reduce((sum, x, index) => sum + (x - (rounded.data[index] ?? 0)) ** 2, 0);
  return 10 * Math.log10(signal / noise);
}

describe('what is split and what is not', () => {
  const PART_CHANNELS = [2, 3, 1];

  function concatConv(options: { kernel?: number; axis?: number; group?: number } = {}): Graph {
    const kernel = options.kernel ?? 1;
    const small = new Graph();
    small.opset = 17;
    small.inputs = PART_CHANNELS.map((channels, index) => ({
      name: `x${index}`,
      type: 'float32',
      shape: [1, channels, 4, 4],
    }));
    small.outputs = [{ name: 'y', type: 'float32', shape: null }];
    const group = options.group ?? 1;
    const weights = Float32Array.from({ length: (6 * 6 * kernel * kernel) / group }, (_, index) => Math.sin(index + 1));
    small.addInitializer(initializerFromTensor('w', float32([6, 6 / group, kernel, kernel], weights)));
    small.addInitializer(initializerFromTensor('b', float32([6], [1, 2, 3, 4, 5, 6])));
    small.nodes = [
      node('Concat', ['x0', 'x1', 'x2'], ['joined'], {
        name: 'join',
        attributes: { axis: attribute.int(options.axis ?? 1) },
      }),
      node('Conv', ['joined', 'w', 'b'], ['y'], {
        name: 'conv',
        attributes: { group: attribute.int(group), strides: attribute.ints([2, 2]) },
      }),
    ];
    return small;
  }

  function splitSmall(small: Graph) {
    return splitShortcuts(
      small,
      inferShapes(
        small,
        Object.fromEntries(PART_CHANNELS.map((channels, index) => [`x${index}`, [1, channels, 4, 4]])),
      ),
    );
  }

  async function run(small: Graph): Promise<Float32Array> {
    const session = await ort.InferenceSession.create(writeModel(small), {
      intraOpNumThreads: 1,
      interOpNumThreads: 1,
    });
    const feeds = PART_CHANNELS.map((channels, index): [string, ort.Tensor] => [
      `x${index}`,
      new ort.Tensor(
        'float32',
        Float32Array.from({ length: channels * 16 }, (_, at) => Math.cos(at * (index + 1))),
        [1, channels, 4, 4],
      ),
    ]);
    const { y } = await session.run(Object.fromEntries(feeds));
    await session.release();
    return y?.data as Float32Array;
  }

  test('three parts, with a stride and a negative axis; the joined value goes when nobody reads it', async () => {
    const small = concatConv({ axis: -3 });
    const expected = await run(small);
    expect(splitSmall(small)).toEqual({ count: 1, convs: ['conv'] });
    expect(small.nodes.map((one) => one.name)).toEqual([
      'conv.part0',
      'conv.part1',
      'conv.part2',
      'conv.sum1',
      'conv.sum2',
    ]);
    expect(small.nodes.slice(0, 3).map((one) => one.inputs.length)).toEqual([3, 2, 2]);
    expect([...small.initializers.keys()].sort()).toEqual(['b', 'w.part0', 'w.part1', 'w.part2']);
    const actual = await run(small);
    /** Sums of 6 products below 1 and a bias ≤ 6, in float32: ≈ 7 · 2⁻²⁴ · 12. */
    const TOLERANCE = 1e-5;
    expected.forEach((value, index) => {
      expect(Math.abs(value - (actual[index] as number))).toBeLessThanOrEqual(TOLERANCE);
    });
  });

  test('not a wider kernel, not a grouped convolution', () => {
    expect(splitSmall(concatConv({ kernel: 3 })).count).toBe(0);
    expect(splitSmall(concatConv({ group: 2 })).count).toBe(0);
  });

  test('not a concatenation along another axis', () => {
    const small = concatConv();
    small.inputs = [0, 1, 2].map((index) => ({ name: `x${index}`, type: 'float32', shape: [1, 6, 4, 4] }));
    small.nodes[0]?.attributes.set('axis', attribute.int(2));
    const shapes = inferShapes(small, { x0: [1, 6, 4, 4], x1: [1, 6, 4, 4], x2: [1, 6, 4, 4] });
    expect(splitShortcuts(small, shapes).count).toBe(0);
  });

  test('parts that do not add up are an invalid model', () => {
    const small = concatConv();
    const shapes = inferShapes(small, { x0: [1, 2, 4, 4], x1: [1, 3, 4, 4], x2: [1, 1, 4, 4] });
    const wrong = { ...shapes, dimsOf: (value: string) => (value === 'x0' ? [1, 5, 4, 4] : shapes.dimsOf(value)) };
    expect(() => splitShortcuts(small, wrong)).toThrow(expect.objectContaining({ kind: 'InvalidModel' }));
  });
});
