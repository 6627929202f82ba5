import { describe, expect, test } from 'vitest';
import { type RecipeInput, recipeSchema } from '../../contracts/recipe.js';
import { attribute, Graph, initializerFromTensor, node, type ValueInfo } from '../../models/onnx/graph.js';
import { inferShapes } from '../../models/onnx/shape-inference.js';
import { float32 } from '../../models/tensors/tensor.js';
import type { PlannedLayer, QuantizationPlan } from '../../quantization/layer-plan.js';
import { planLayers } from '../../quantization/plan-layers.js';
import { splitShortcuts } from '../../quantization/transforms/split-shortcut.js';
import { ZOO_DIMS, ZOO_INPUTS, zooDenoiser } from './zoo-denoiser.js';

const { graph, shapes, bytes } = zooDenoiser();

function planZoo(recipe: RecipeInput = {}): QuantizationPlan {
  return planLayers({
    graph,
    shapes,
    recipe: recipeSchema.parse(recipe),
    inputs: ZOO_INPUTS,
    floatBytes: bytes.length,
  });
}

function layerNamed(plan: QuantizationPlan, name: string): PlannedLayer {
  const found = plan.layers.find((layer) => layer.name === name);
  if (found === undefined) throw new Error(`no layer ${name}`);
  return found;
}

describe('the plan of the zoo denoiser', () => {
  const plan = planZoo();
  const weighted = plan.layers.filter((layer) => layer.weight !== null);
  const products = plan.layers.filter((layer) => layer.weight === null);

  test('has the 83 layers with weights of the baseline and 16 products of activations, all quantized', () => {
    expect(weighted).toHaveLength(83);
    expect(products).toHaveLength(16);
    expect(plan.layers.every((layer) => layer.skipped === null)).toBe(true);
    expect(new Set(plan.layers.map((layer) => layer.name)).size).toBe(plan.layers.length);
    expect(products.filter((layer) => layer.name.endsWith('.qk'))).toHaveLength(8);
    expect(products.filter((layer) => layer.name.endsWith('.sv'))).toHaveLength(8);
  });

  test('covers 98.9 % of the multiply-adds at 4 bit, as notes/baselines.md counted in torch', () => {
    expect(plan.coverage.macs).toBeCloseTo(0.989, 3);
    expect(plan.coverage.layers).toBeCloseTo(81 / 83, 12);
    const shares = Object.values(plan.coverage.macsByBits);
    expect(Object.keys(plan.coverage.macsByBits).sort()).toEqual(['a8a8', 'w4a4', 'w8a8']);
    expect(shares.reduce((sum, share) => sum + share, 0)).toBeCloseTo(1, 12);
  });

  test("finds the roles by structure: they agree with the exporter's module names", () => {
    const expectations: readonly (readonly [RegExp, string])[] = [
      [/^conv_in$/, 'first'],
      [/^conv_out$/, 'last'],
      [/^time_embedding\.|time_emb_proj$/, 'time-embedding'],
      [/attn[12]\.to_(q|k|v|out\.0)$/, 'attention-projection'],
      [/\.ff\.net\./, 'feed-forward'],
      [/conv_shortcut$/, 'shortcut'],
      [/\.(qk|sv)$/, 'attention-matmul'],
      [/\.(conv[12]|proj_in|proj_out|conv)$/, 'convolution'],
    ];
    for (const layer of plan.layers) {
      const expected = expectations.find(([pattern]) => pattern.test(layer.name));
      expect([layer.name, layer.role]).toEqual([layer.name, expected?.[1]]);
    }
  });

  test('tells queries, keys and values of self- and cross-attention, and outputs apart', () => {
    const expectations: readonly (readonly [RegExp, string])[] = [
      [/to_q$/, 'attention-query'],
      [/attn1\.to_[kv]$/, 'attention-self-key-value'],
      [/attn2\.to_[kv]$/, 'attention-cross-key-value'],
      [/to_out\.0$/, 'attention-output'],
    ];
    for (const { name, attentionParts } of plan.layers) {
      const expected = expectations.find(([pattern]) => pattern.test(name));
      expect([name, attentionParts]).toEqual([name, expected && [expected[1]]]);
    }
  });

  test('knows axes, bias and groups of every kind of layer', () => {
    const conv = layerNamed(plan, 'down_blocks.1.resnets.0.conv1');
    expect(conv.weight).toMatchObject({
      outputAxis: 0,
      inputAxis: 1,
      dims: [128, 64, 3, 3],
      scheme: { bits: 4, groupSize: 64 },
    });
    expect(conv.weight?.bias).toBe('unet.down_blocks.1.resnets.0.conv1.bias');
    expect(conv.inputs[0]).toMatchObject({ index: 0, channelAxis: 1, rows: 'batch' });
    const linear = layerNamed(plan, 'mid_block.attentions.0.transformer_blocks.0.ff.net.2');
    expect(linear.weight).toMatchObject({ outputAxis: 1, inputAxis: 0, dims: [512, 128] });
    expect(linear.weight?.bias).toBe('unet.mid_block.attentions.0.transformer_blocks.0.ff.net.2.bias');
    expect(linear.inputs[0]).toMatchObject({ channelAxis: 2, scheme: { groupSize: 64 } });
    const gemm = layerNamed(plan, 'time_embedding.linear_2');
    expect(gemm.weight).toMatchObject({ outputAxis: 0, inputAxis: 1, bias: 'unet.time_embedding.linear_2.bias' });
    expect(layerNamed(plan, 'mid_block.attentions.0.transformer_blocks.0.attn1.to_q').weight?.bias).toBeNull();
    const product = layerNamed(plan, 'mid_block.attentions.0.transformer_blocks.0.attn1.qk');
    expect(product.inputs.map((input) => [input.index, input.channelAxis, input.rows])).toEqual([
      [0, 2, 'other'],
      [1, 1, 'other'],
    ]);
  });

  test('gives edges and products 8 bits and whole-channel ranges', () => {
    for (const name of ['conv_in', 'conv_out']) {
      const { weight, inputs } = layerNamed(plan, name);
      expect(weight?.scheme).toMatchObject({ bits: 8, groupSize: null });
      expect(inputs[0]?.scheme).toMatchObject({ bits: 8, groupSize: null, ranges: 'dynamic' });
    }
    for (const { inputs } of products) {
      expect(inputs.map((input) => [input.scheme.bits, input.scheme.groupSize])).toEqual([
        [8, null],
        [8, null],
      ]);
    }
  });

  test('estimates a file of less than a fifth', () => {
    expect(plan.estimatedBytes).toBeLessThan(bytes.length / 5);
    expect(plan.estimatedBytes).toBeGreaterThan(bytes.length / 9);
  });
});

describe('recipes change the plan', () => {
  test('W8A8 covers everything and W4A8 lowers the weights only', () => {
    const w8a8 = planZoo({ weights: { bits: 8 }, activations: { bits: 8 } });
    expect(w8a8.coverage.macs).toBe(1);
    const w4a8 = planZoo({ activations: { bits: 8 } });
    expect(Object.keys(w4a8.coverage.macsByBits)).toContain('w4a8');
  });

  test('static and timestep ranges have no groups and keep the search, dynamic ones have no search', () => {
    for (const ranges of ['static', 'timestep'] as const) {
      const plan = planZoo({ activations: { ranges } });
      for (const { inputs } of plan.layers) {
        for (const { scheme } of inputs) expect(scheme).toMatchObject({ ranges, groupSize: null, range: 'mse' });
      }
    }
    for (const { inputs } of planZoo().layers) for (const { scheme } of inputs) expect(scheme.range).toBe('minmax');
  });

  test('symmetric activations stay unsigned behind a softmax, where nothing is negative', () => {
    const plan = planZoo({ activations: { symmetric: true } });
    const context = plan.layers.find((layer) => layer.name.endsWith('.sv'));
    expect(context?.inputs.map((input) => input.scheme.symmetric)).toEqual([false, true]);
    const others = plan.layers.filter((layer) => layer.weight !== null).flatMap((layer) => layer.inputs);
    expect(others.every((input) => input.scheme.symmetric)).toBe(true);
  });

  test('channel granularity and groups that do not divide: largest divisor', () => {
    const channel = planZoo({ weights: { granularity: 'channel' } });
    expect(channel.layers.every((layer) => (layer.weight?.scheme.groupSize ?? null) === null)).toBe(true);
    const wide = planZoo({ weights: { groupSize: 128 } });
    expect(layerNamed(wide, 'up_blocks.0.resnets.1.conv1').weight?.scheme.groupSize).toBe(96);
    expect(layerNamed(wide, 'down_blocks.0.resnets.0.conv1').weight?.scheme.groupSize).toBe(64);
  });

  test('float attention and overrides: reasons in words, coverage follows', () => {
    const plan = planZoo({
      attention: { bits: null },
      overrides: [
        { layers: 'conv_shortcut$', activationBits: 8 },
        { layers: '^up_blocks\\.1\\.resnets\\.1\\.conv_shortcut$', skip: true },
      ],
    });
    expect(layerNamed(plan, 'mid_block.attentions.0.transformer_blocks.0.attn1.qk').skipped).toContain(
      'attention.bits is null',
    );
    expect(layerNamed(plan, 'up_blocks.1.resnets.1.conv_shortcut')).toMatchObject({
      skipped: 'an override of the recipe skips it',
      inputs: [],
    });
    expect(layerNamed(plan, 'up_blocks.1.resnets.0.conv_shortcut').inputs[0]?.scheme.bits).toBe(8);
    expect(plan.coverage.macs).toBeLessThan(planZoo().coverage.macs);
    expect(plan.coverage.macsByBits.float).toBeGreaterThan(0);
  });

  test.each([
    ['no regular expression', { layers: '(', skip: true }],
    ['no layer matches', { layers: 'conv_shortcutt', skip: true }],
    ['cannot be skipped and have bits', { layers: 'conv_in', skip: true, weightBits: 4 }],
    ['changes nothing', { layers: 'conv_in' }],
  ])('an override that cannot be meant is InvalidRecipe: %s', (message, override) => {
    expect(() => planZoo({ overrides: [override] })).toThrow(
      expect.objectContaining({ kind: 'InvalidRecipe', message: expect.stringContaining(message) }),
    );
  });

  test('an input that the graph does not have is InvalidModel', () => {
    const inputs = { ...ZOO_INPUTS, timestep: 't' };
    expect(() => planLayers({ graph, shapes, recipe: recipeSchema.parse({}), inputs, floatBytes: 1 })).toThrow(
      expect.objectContaining({ kind: 'InvalidModel' }),
    );
  });
});

test('after the split the parts are shortcuts with readable names and nothing is lost', () => {
  const split = graph.clone();
  splitShortcuts(split, shapes);
  const splitShapes = inferShapes(split, ZOO_DIMS);
  const before = planZoo();
  const after = planLayers({
    graph: split,
    shapes: splitShapes,
    recipe: recipeSchema.parse({}),
    inputs: ZOO_INPUTS,
    floatBytes: bytes.length,
  });
  expect(after.layers.filter((layer) => layer.weight !== null)).toHaveLength(83 + 4);
  expect(layerNamed(after, 'up_blocks.1.resnets.1.conv_shortcut.part1')).toMatchObject({
    role: 'shortcut',
    parameters: 64 * 64,
  });
  expect(layerNamed(after, 'up_blocks.1.resnets.1.conv_shortcut.part0').weight?.bias).toBe(
    'unet.up_blocks.1.resnets.1.conv_shortcut.bias',
  );
  const total = (plan: QuantizationPlan, of: (layer: PlannedLayer) => number) =>
    plan.layers.reduce((sum, layer) => sum + of(layer), 0);
  expect(total(after, (layer) => layer.macs)).toBe(total(before, (layer) => layer.macs));
  expect(total(after, (layer) => layer.parameters)).toBe(total(before, (layer) => layer.parameters));
});

describe('layers that the zoo does not have', () => {
  const info = (name: string, shape: number[]): ValueInfo => ({ name, type: 'float32', shape });

  function smallGraph(): Graph {
    const small = new Graph();
    small.opset = 17;
    small.inputs = [info('x', [2, 4, 16]), info('t', [1, 16])];
    small.outputs = [info('y', [2, 4, 16])];
    const weight = (name: string, dims: number[]): string =>
      small.addInitializer(
        initializerFromTensor(name, float32(dims, new Float32Array(dims.reduce((a, b) => a * b, 1)).fill(0.5))),
      );
    small.nodes = [
      node('Transpose', [weight('w_first', [16, 16])], ['w_first_t'], {
        name: 'tr',
        attributes: { perm: attribute.ints([1, 0]) },
      }),
      node('MatMul', ['x', 'w_first_t'], ['a'], { name: 'blocks/first/MatMul' }),
      node('MatMul', ['t', weight('w_time', [16, 16])], ['emb'], { name: 'blocks/time/MatMul' }),
      node('Add', ['a', 'emb'], ['b'], { name: 'add' }),
      node('Mul', [weight('w_base', [16, 16]), weight('w_gain', [1])], ['w_computed'], { name: 'gain' }),
      node('MatMul', ['b', 'w_computed'], ['c'], { name: 'blocks/computed/MatMul' }),
      node('MatMul', ['c', weight('w_batched', [2, 16, 16])], ['d'], { name: 'blocks/batched/MatMul' }),
      node('MatMul', ['d', weight('w_last', [16, 16])], ['y'], { name: 'blocks/last/MatMul' }),
    ];
    return small;
  }

  test('a transposed weight, a timestep row, and reasons for what cannot be quantized', () => {
    const small = smallGraph();
    const plan = planLayers({
      graph: small,
      shapes: inferShapes(small, { x: [2, 4, 16], t: [1, 16] }),
      recipe: recipeSchema.parse({}),
      inputs: { sample: 'x', timestep: 't', conditioning: null },
      floatBytes: 10_000,
    });
    expect(plan.layers.map((layer) => [layer.name, layer.role, layer.skipped])).toEqual([
      ['first', 'first', null],
      ['time', 'time-embedding', null],
      ['computed', 'linear', 'its weight is computed inside the graph'],
      ['batched', 'linear', 'its weight has dims [2, 16, 16], not two'],
      ['last', 'last', null],
    ]);
    expect(layerNamed(plan, 'first').weight).toMatchObject({ initializer: 'w_first', outputAxis: 0, inputAxis: 1 });
    expect(layerNamed(plan, 'time').inputs[0]?.rows).toBe('timestep');
    expect(layerNamed(plan, 'time').macs).toBe(16 * 16);
    expect(layerNamed(plan, 'first').macs).toBe(4 * 16 * 16);
    expect(layerNamed(plan, 'time').weight?.scheme.groupSize).toBe(16);
  });

  test('a bias is planned with its layer, unless another layer reads it too', () => {
    const small = new Graph();
    small.inputs = [info('x', [2, 4]), info('t', [1, 4])];
    small.outputs = [info('y', [2, 4])];
    for (const name of ['w0', 'w1', 'w2'])
      small.addInitializer(initializerFromTensor(name, float32([4, 4], new Float32Array(16).fill(0.5))));
    for (const name of ['own', 'shared']) small.addInitializer(initializerFromTensor(name, float32([4], [0, 0, 0, 1])));
    small.nodes = [
      node('Gemm', ['x', 'w0', 'own'], ['a'], { name: 'a' }),
      node('Gemm', ['a', 'w1', 'shared'], ['b'], { name: 'b' }),
      node('MatMul', ['b', 'w2'], ['c'], { name: 'c' }),
      node('Add', ['c', 'shared'], ['d'], { name: 'd' }),
      node('Add', ['d', 't'], ['y'], { name: 'e' }),
    ];
    const plan = planLayers({
      graph: small,
      shapes: inferShapes(small, { x: [2, 4], t: [1, 4] }),
      recipe: recipeSchema.parse({}),
      inputs: { sample: 'x', timestep: 't', conditioning: null },
      floatBytes: 10_000,
    });
    expect(plan.layers.map(({ node: name, weight }) => [name, weight?.bias])).toEqual([
      ['a', 'own'],
      ['b', null],
      ['c', null],
    ]);
  });
});
