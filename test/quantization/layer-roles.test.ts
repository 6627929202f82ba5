import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { recipeSchema } from '../../contracts/recipe.js';
import { readModel } from '../../models/onnx/model-proto.js';
import { inferShapes } from '../../models/onnx/shape-inference.js';
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
});
