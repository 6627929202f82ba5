import { describe, expect, it } from 'vitest';
import { recipeSchema } from '../../../../contracts/recipe.js';
import { removeDeadCode } from '../../../../models/onnx/remove-dead-code.js';
import type { Pipeline } from '../../../../models/pipelines/pipeline.js';
import { readPipeline } from '../../../../models/pipelines/read-pipeline.js';
import { dataDependencies } from '../../../../quantization/data-dependencies.js';
import { type PlannedDenoiser, planDenoiser, planningInputs } from '../../../../quantization/plan-denoiser.js';
import { type Block, cutBlocks } from '../../../../quantization/rounding/reconstruction/cut-blocks.js';
import { pipelineFolder } from '../../../models/pipelines/pipeline-folder.js';
import { zooPipeline } from '../../../zoo-pipeline.js';

interface Cut extends PlannedDenoiser {
  readonly blocks: readonly Block[];
}

function cut(pipeline: Pipeline): Cut {
  const planned = planDenoiser(pipeline, recipeSchema.parse({ finetuning: { enabled: false } }));
  return { ...planned, blocks: cutBlocks(planned.graph, planned.plan, planningInputs(pipeline.denoiser)) };
}

const golden = (name: string): Cut => cut(readPipeline(pipelineFolder(`test/golden/pipelines/${name}`)));

/** How many blocks of each kind. */
function kinds(blocks: readonly Block[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { kind } of blocks) counts[kind] = (counts[kind] ?? 0) + 1;
  return counts;
}

const CASES: readonly [string, () => Cut, Record<string, number>][] = [
  ['the zoo’s UNet', () => cut(zooPipeline()), { residual: 8, transformer: 4, layer: 14 }],
  ['a UNet with cross-attention', () => golden('sd_text2img'), { residual: 8, transformer: 4, layer: 14 }],
  ['a UNet with attention blocks', () => golden('ddpm_uncond'), { residual: 8, attention: 4, layer: 6 }],
  ['the same from the other exporter', () => golden('ddpm_uncond_dynamo'), { residual: 8, attention: 4, layer: 6 }],
  ['a DiT with an embedder in each block', () => golden('dit_class'), { transformer: 3, layer: 5 }],
  ['a SiT', () => golden('sit_flow'), { transformer: 3, layer: 5 }],
];

describe.each(CASES)('the blocks of %s', (_, make, expected) => {
  const { graph, plan, blocks } = make();

  it('are of the kinds that its structure says', () => {
    const found = kinds(blocks);
    // The embedders of a DiT’s later blocks are theirs alone; those of the first one feed the last layer, too.
    expect(found).toEqual(expected);
  });

  it('hold every quantized layer with a weight once', () => {
    const quantized = plan.layers.filter(({ weight, skipped }) => weight !== null && skipped === null);
    const names = new Set(quantized.map(({ name }) => name));
    const held = blocks.flatMap(({ layers }) => layers).filter((name) => names.has(name));
    expect(held.length).toBe(names.size);
    expect(new Set(held)).toEqual(names);
  });

  it('come in network order and compute their outputs from their inputs alone', () => {
    const position = new Map(graph.nodes.flatMap((node, at) => node.outputs.map((output) => [output, at] as const)));
    const ends = blocks.map(({ outputs }) => Math.max(...outputs.map((output) => position.get(output) ?? -1)));
    expect(ends).toEqual([...ends].sort((a, b) => a - b));
    for (const { name, inputs, outputs } of blocks) {
      expect(inputs.length, name).toBeGreaterThan(0);
      const alone = graph.clone();
      alone.nodes = alone.nodes.filter((node) => !node.outputs.some((output) => inputs.includes(output)));
      alone.inputs = alone.inputs.filter((input) => !inputs.includes(input.name));
      alone.outputs = outputs.map((output) => ({ name: output, type: 'float32', shape: null }));
      removeDeadCode(alone);
      const dependencies = dataDependencies(alone);
      for (const output of outputs) expect([...dependencies(output)], `${name} → ${output}`).toEqual([]);
    }
  });
});

describe('a split shortcut', () => {
  it('leaves its residual block with one input per part and the embedding', () => {
    const { blocks } = cut(zooPipeline());
    const up = blocks.find(({ name }) => name === 'up_blocks.1.resnets.1');
    expect(up?.inputs).toHaveLength(3);
    expect(up?.layers).toEqual([
      'up_blocks.1.resnets.1.conv1',
      'up_blocks.1.resnets.1.time_emb_proj',
      'up_blocks.1.resnets.1.conv2',
      'up_blocks.1.resnets.1.conv_shortcut.part0',
      'up_blocks.1.resnets.1.conv_shortcut.part1',
    ]);
  });
});
