import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { PromptSets } from '../../contracts/activities.js';
import type { Score } from '../../contracts/score.js';
import type { PipelineManifest } from '../../contracts/stages.js';
import { frechetOf } from '../../evaluation/report/score-columns.js';
import { headlineOf } from '../../evaluation/score-headline.js';
import { Bench, runChain, tinySpec } from './run-chain.js';

/** Small pipelines of other exporters, without finetuning. */
const GOLDEN = fileURLToPath(new URL('../golden/pipelines', import.meta.url));

let bench: Bench;
beforeAll(async () => {
  bench = await Bench.open();
});
afterAll(() => bench.close());

async function chainOf(name: string) {
  const settings = { finetuning: { enabled: false }, activations: { ranges: 'static' as const } };
  const spec = await tinySpec(join(bench.folder, `out-${name}`), settings, join(GOLDEN, name));
  const { artifacts } = await runChain(bench, spec);
  const json = async (id: string): Promise<unknown> => {
    const ref = artifacts[id];
    if (ref === undefined) throw new Error(`no artifact ${id}`);
    return bench.store.getJson(ref);
  };
  const scores = (await json('evaluate.scores')) as Score[];
  const shipped = (await json('convert.pipeline')) as PipelineManifest;
  const prompts = (await json('import.prompts')) as PromptSets;
  return { spec, scores, paths: shipped.files.map(({ path }) => path), prompts };
}

describe('other pipelines', () => {
  it('without text, from the dynamo exporter, with weights beside the model: shipped in one file', async () => {
    const { spec, scores, paths, prompts } = await chainOf('ddpm_uncond_dynamo');
    expect(paths).toContain('unet/model.onnx');
    expect(paths).not.toContain('unet/model.onnx.data');
    expect(await readdir(join(spec.out, 'unet'))).not.toContain('model.onnx.data');
    expect(frechetOf(scores)).toMatchObject({ toReference: null, referenceCount: null });
    expect(headlineOf(scores).denoiserRelativeMse).toBeGreaterThan(0);
    expect(prompts.evaluation).toEqual(new Array(10).fill(''));
  });

  it('with text, a VAE and another sampler', async () => {
    const { scores, paths } = await chainOf('sd_text2img');
    expect(paths).toEqual(
      expect.arrayContaining(['unet/model.onnx', 'text_encoder/model.onnx', 'vae_decoder/model.onnx']),
    );
    const { denoiserRelativeMse } = headlineOf(scores);
    expect(denoiserRelativeMse).toBeGreaterThan(0);
    expect(denoiserRelativeMse).toBeLessThan(1);
  });

  it('that take class labels are refused in words', async () => {
    const spec = await tinySpec(join(bench.folder, 'out-dit'), {}, join(GOLDEN, 'dit_class'));
    await expect(bench.activities.importPipeline({ spec })).rejects.toThrow(
      /class-conditional pipelines are not supported/,
    );
  });
});
