import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { EngineExecutor } from '../../../activities/engine/engine-executor.js';
import { LARGEST_DIFFERENCE } from '../../../activities/transform-graph.js';
import { inferShapes } from '../../../models/onnx/shape-inference.js';
import { uniforms } from '../../../models/tensors/random.js';
import { channelAffine } from '../../../quantization/transforms/channel-affine.js';
import { inputSites, scaleInputs } from '../../../quantization/transforms/input-sites.js';
import { outputDifference } from '../../../quantization/transforms/output-difference.js';
import { transformDenoiser } from '../../../quantization/transforms/transform-denoiser.js';
import { folderPipeline } from '../../zoo-pipeline.js';

/** Other exporters and architectures; their denoisers have a few ten thousand parameters. */
const PIPELINES = ['ddpm_uncond', 'ddpm_uncond_dynamo', 'dit_class', 'sd_text2img', 'sit_flow'];

let executor: EngineExecutor;
beforeAll(async () => {
  executor = await EngineExecutor.start({ device: 'cpu', threads: 1 });
});
afterAll(() => executor.close());

describe('exact rewrites of pipelines from torch', () => {
  for (const name of PIPELINES) {
    test(`${name}: norms folded, heads rotated, and scalings that take any factors`, async () => {
      const pipeline = folderPipeline(fileURLToPath(new URL(`../../golden/pipelines/${name}`, import.meta.url)));
      const transformed = transformDenoiser(pipeline, ['split-shortcut', 'norm-fold', 'rotate', 'smooth']);
      const { graph, shapes } = transformed;
      expect(await outputDifference(executor, pipeline, graph)).toBeLessThanOrEqual(LARGEST_DIFFERENCE);
      const sites = inputSites(
        graph,
        inferShapes(graph, Object.fromEntries(graph.inputs.map((input) => [input.name, shapes.dimsOf(input.name)]))),
      );
      let scaled = 0;
      for (const site of sites) {
        const affine = channelAffine(graph, site.value, site.channelAxis, site.rank);
        if (affine === undefined || !site.isOwn) continue;
        const factors = uniforms(7, scaled, site.channels).map((unit) => 2 ** (4 * unit - 2));
        const divided = (values: Float64Array): Float64Array => values.map((value, at) => value / (factors[at] ?? 1));
        affine.set(divided(affine.gamma), affine.beta === null ? null : divided(affine.beta));
        for (const layer of site.layers) scaleInputs(graph, layer, factors);
        scaled += 1;
      }
      expect(scaled).toBe(sites.length);
      expect(scaled).toBeGreaterThan(5);
      expect(await outputDifference(executor, pipeline, graph)).toBeLessThanOrEqual(LARGEST_DIFFERENCE);
    }, 240_000);
  }
});
