import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { recipeSchema } from '../../contracts/recipe.js';
import { attribute, Graph, initializerFromTensor, type Node, node } from '../../models/onnx/graph.js';
import { readModel } from '../../models/onnx/model-proto.js';
import { inferShapes } from '../../models/onnx/shape-inference.js';
import { float32, int64 } from '../../models/tensors/tensor.js';
import type { QuantizationPlan } from '../../quantization/layer-plan.js';
import type { DenoiserInputs } from '../../quantization/layer-roles.js';
import { planLayers } from '../../quantization/plan-layers.js';

const pipelines = new URL('../golden/pipelines/', import.meta.url);

function plan(folder: string, dims: Record<string, number[]>, inputs: DenoiserInputs): QuantizationPlan {
  const bytes = new Uint8Array(readFileSync(new URL(`${folder}/model.onnx`, pipelines)));
  const graph = readModel(bytes, {
    external: (location, offset, length) =>
      new Uint8Array(readFileSync(new URL(`${folder}/${location}`, pipelines)).subarray(offset, offset + length)),
  });
  return planLayers({
    graph,
    shapes: inferShapes(graph, dims),
    recipe: recipeSchema.parse({}),
    inputs,
    floatBytes: bytes.length,
  });
}

const UNCONDITIONAL = { sample: 'sample', timestep: 'timestep', conditioning: null };
const UNCONDITIONAL_DIMS = { sample: [2, 3, 16, 16], timestep: [2] };

describe('roles of other networks and exporters', () => {
  test('one network, exported by TorchScript and by dynamo (no module names): the same roles and multiply-adds', () => {
    const scripted = plan('ddpm_uncond/unet', UNCONDITIONAL_DIMS, UNCONDITIONAL);
    const dynamo = plan('ddpm_uncond_dynamo/unet', UNCONDITIONAL_DIMS, UNCONDITIONAL);
    expect(dynamo.layers.map((layer) => [layer.role, layer.macs])).toEqual(
      scripted.layers.map((layer) => [layer.role, layer.macs]),
    );
    expect(dynamo.layers.map((layer) => layer.weight?.dims[layer.weight.outputAxis])).toEqual(
      scripted.layers.map((layer) => layer.weight?.dims[layer.weight.outputAxis]),
    );
  });

  test('a float16 network is left alone, with the reason', () => {
    const half = plan('ddpm_uncond_fp16/unet', UNCONDITIONAL_DIMS, UNCONDITIONAL);
    expect(half.coverage.macsByBits).toEqual({ float: expect.closeTo(1, 9) });
    for (const layer of half.layers) expect(layer.skipped).toContain('float16');
    expect(half.estimatedBytes).toBe(half.floatBytes);
  });

  test('a diffusion transformer with joint qkv, modulation and class conditioning', () => {
    const sit = plan(
      'sit_flow/transformer',
      { hidden_states: [2, 3, 16, 16], timestep: [2], class_labels: [2] },
      { sample: 'hidden_states', timestep: 'timestep', conditioning: 'class_labels' },
    );
    expect(sit.layers.map((layer) => layer.role)).toEqual([
      'time-embedding',
      'time-embedding',
      'first',
      ...Array.from({ length: 3 }, () => [
        'time-embedding',
        'attention-projection',
        'attention-matmul',
        'attention-matmul',
        'attention-projection',
        'feed-forward',
        'feed-forward',
      ]).flat(),
      'time-embedding',
      'last',
    ]);
    const parts = sit.layers.flatMap(({ attentionParts }) => (attentionParts === undefined ? [] : [attentionParts]));
    expect(parts).toEqual(
      Array.from({ length: 3 }, () => [['attention-query', 'attention-self-key-value'], ['attention-output']]).flat(),
    );
  });

  test("a convolutional attention's joint qkv is query, key and value, its projection the output", () => {
    const graph = convolutionalAttention();
    const attention = planLayers({
      graph,
      shapes: inferShapes(graph, { x: [2, 4, 4, 4] }),
      recipe: recipeSchema.parse({}),
      inputs: { sample: 'x', timestep: 't', conditioning: null },
      floatBytes: 10_000,
    });
    expect(attention.layers.map(({ name, role, attentionParts }) => [name, role, attentionParts])).toEqual([
      ['conv_in', 'first', undefined],
      ['qkv', 'attention-projection', ['attention-query', 'attention-self-key-value']],
      ['attn.qk', 'attention-matmul', undefined],
      ['attn.sv', 'attention-matmul', undefined],
      ['proj_out', 'attention-projection', ['attention-output']],
      ['conv_out', 'last', undefined],
    ]);
  });
});

/** One attention block as latent diffusion's unconditional UNets have it: 1×1 Conv → q, k, V over pixels → 1×1 Conv. */
function convolutionalAttention(): Graph {
  const graph = new Graph();
  graph.inputs = [
    { name: 'x', type: 'float32', shape: ['batch', 4, 4, 4] },
    { name: 't', type: 'float32', shape: [1] },
  ];
  const weight = (name: string, dims: number[]): string =>
    graph.addInitializer(initializerFromTensor(name, float32(dims, new Float32Array(dims.reduce((a, b) => a * b, 1)))));
  const shape = (name: string, dims: number[]): string =>
    graph.addInitializer(initializerFromTensor(name, int64([dims.length], dims)));
  const conv = (name: string, input: string, [out, into]: [number, number]): Node =>
    node('Conv', [input, weight(`${name}.weight`, [out, into, 1, 1])], [`${name}.out`], { name: `/${name}/Conv` });
  graph.nodes = [
    conv('conv_in', 'x', [8, 4]),
    node('Mul', ['conv_in.out', 't'], ['timed'], { name: 'timed' }),
    conv('qkv', 'timed', [24, 8]),
    node('Reshape', ['qkv.out', shape('flat', [2, 24, 16])], ['pixels'], { name: 'flatten' }),
    node('Split', ['pixels', shape('thirds', [8, 8, 8])], ['q', 'k', 'v'], {
      name: 'split',
      attributes: { axis: attribute.int(1) },
    }),
    node('Transpose', ['q'], ['qT'], { name: 'qT', attributes: { perm: attribute.ints([0, 2, 1]) } }),
    node('MatMul', ['qT', 'k'], ['scores'], { name: '/attn/MatMul' }),
    node('Softmax', ['scores'], ['probabilities'], { name: 'softmax', attributes: { axis: attribute.int(-1) } }),
    node('Transpose', ['v'], ['vT'], { name: 'vT', attributes: { perm: attribute.ints([0, 2, 1]) } }),
    node('MatMul', ['probabilities', 'vT'], ['context'], { name: '/attn/MatMul_1' }),
    node('Transpose', ['context'], ['contextT'], { name: 'contextT', attributes: { perm: attribute.ints([0, 2, 1]) } }),
    node('Reshape', ['contextT', shape('square', [2, 8, 4, 4])], ['picture'], { name: 'unflatten' }),
    conv('proj_out', 'picture', [8, 8]),
    node('Add', ['proj_out.out', 'timed'], ['sum'], { name: 'residual' }),
    conv('conv_out', 'sum', [4, 8]),
  ];
  graph.outputs = [{ name: 'conv_out.out', type: 'float32', shape: ['batch', 4, 4, 4] }];
  return graph;
}
