import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { EngineExecutor } from '../../../activities/engine/engine-executor.js';
import { LARGEST_DIFFERENCE } from '../../../activities/transform-graph.js';
import { recipeSchema } from '../../../contracts/recipe.js';
import type { Graph } from '../../../models/onnx/graph.js';
import { tensorFromInitializer } from '../../../models/onnx/tensor-from-initializer.js';
import { planDenoiser } from '../../../quantization/plan-denoiser.js';
import { outputDifference } from '../../../quantization/transforms/output-difference.js';
import { transformDenoiser } from '../../../quantization/transforms/transform-denoiser.js';
import { zooPipeline } from '../../zoo-pipeline.js';

/** 12 layer norms in front of linear layers and 4 group norms in front of pointwise convolutions; the others have a SiLU behind. */
const FOLDED_NORMS = 16;
/** Four blocks with self- and cross-attention. */
const ROTATED = 8;

const pipeline = zooPipeline();
let executor: EngineExecutor;
beforeAll(async () => {
  executor = await EngineExecutor.start({ device: 'cpu', threads: 1 });
});
afterAll(() => executor.close());

function tensorsOf(graph: Graph): Map<string, ArrayLike<number | bigint>> {
  return new Map([...graph.initializers].map(([name, held]) => [name, tensorFromInitializer(held).data]));
}

describe('rewrites of the bundled denoiser that leave its float output as it was', () => {
  test('the affine parts of norms move into the layers behind them', async () => {
    const { graph, notes } = transformDenoiser(pipeline, ['split-shortcut', 'norm-fold']);
    expect(notes[1]).toBe(`${FOLDED_NORMS} norms folded`);
    for (const node of graph.nodes.filter(({ opType }) => opType === 'LayerNormalization')) {
      expect(node.inputs).toHaveLength(2);
      expect(new Set(Array.from(tensorsOf(graph).get(node.inputs[1] ?? '') ?? []))).toEqual(new Set([1]));
    }
    expect(await outputDifference(executor, pipeline, graph)).toBeLessThanOrEqual(LARGEST_DIFFERENCE);
  }, 240_000);

  test('the heads of values and output projections are rotated', async () => {
    const before = tensorsOf(transformDenoiser(pipeline, []).graph);
    const { graph, notes } = transformDenoiser(pipeline, ['rotate']);
    expect(notes).toEqual([`${ROTATED} attention heads rotated`]);
    const changed = [...tensorsOf(graph)].filter(([name, data]) => {
      const held = before.get(name);
      return held === undefined || Array.from(data).some((value, at) => value !== held[at]);
    });
    expect(changed).toHaveLength(2 * ROTATED);
    expect(await outputDifference(executor, pipeline, graph)).toBeLessThanOrEqual(LARGEST_DIFFERENCE);
  }, 240_000);

  test('all of them together, and the plan still knows every layer', async () => {
    const transforms = ['split-shortcut', 'norm-fold', 'rotate'] as const;
    const { graph } = transformDenoiser(pipeline, [...transforms]);
    expect(await outputDifference(executor, pipeline, graph)).toBeLessThanOrEqual(LARGEST_DIFFERENCE);
    const plain = planDenoiser(pipeline, recipeSchema.parse({}));
    const planned = planDenoiser(pipeline, recipeSchema.parse({ transforms: [...transforms] }));
    expect(planned.plan.layers.map(({ name, role, weight }) => [name, role, weight?.dims])).toEqual(
      plain.plan.layers.map(({ name, role, weight }) => [name, role, weight?.dims]),
    );
    expect(planned.plan.layers.find(({ name }) => name.endsWith('attn1.to_q'))?.weight?.bias).not.toBeNull();
  }, 240_000);
});
