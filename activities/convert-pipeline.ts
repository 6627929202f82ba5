import { type Activities, type ConvertPipelineResult, convertPipelineInputSchema } from '../contracts/activities.js';
import type { ArtifactRef } from '../contracts/artifact.js';
import type { PipelineManifest } from '../contracts/stages.js';
import { modelChunks } from '../models/onnx/model-proto.js';
import { inferShapes } from '../models/onnx/shape-inference.js';
import { denoiserDims } from '../models/pipelines/denoiser-dims.js';
import { componentBytes, externalFiles } from '../models/pipelines/open-component.js';
import type { Pipeline } from '../models/pipelines/pipeline.js';
import { readPipeline } from '../models/pipelines/read-pipeline.js';
import { type BytesByPart, bytesByPart } from '../quantization/conversion/bytes-by-part.js';
import { convertDenoiser } from '../quantization/conversion/convert-denoiser.js';
import { planningInputs } from '../quantization/plan-denoiser.js';
import { loadGraph, loadParameters, loadPlan } from './load-artifacts.js';
import { type ActivityDeps, runStage } from './stage-frame.js';
import { loadManifest, storedFiles } from './stored-pipeline.js';

/** Ranks and channels are all that conversion reads of shapes. */
const CONVERSION_BATCH = 2;

/** Makes the shipped folder's model files: the input's, with a quantized denoiser in the place of the float one. */
export function createConvertPipeline(deps: ActivityDeps): Activities['convertPipeline'] {
  return (rawInput) =>
    runStage(
      deps,
      {
        stage: 'convert',
        version: 1,
        input: convertPipelineInputSchema,
        key: ({ pipeline, graph, plan, parameters }) => ({ pipeline, graph, plan, parameters }),
      },
      rawInput,
      async (input, context): Promise<Omit<ConvertPipelineResult, 'reused' | 'seconds'>> => {
        const manifest = await loadManifest(context.store, input.pipeline);
        const source = readPipeline(await storedFiles(context.store, manifest));
        const graph = await loadGraph(context.store, input.graph);
        await context.breathe();
        const converted = convertDenoiser({
          graph,
          shapes: inferShapes(graph, denoiserDims(source, graph, CONVERSION_BATCH)),
          plan: await loadPlan(context.store, input.plan),
          parameters: await loadParameters(context.store, input.parameters),
          inputs: planningInputs(source.denoiser),
        });
        await context.breathe();
        const denoiser = await context.store.putStream('file', modelChunks(converted));
        const floatDenoiserBytes = componentBytes(source.files, source.denoiser);
        return {
          pipeline: await context.store.putJson('pipeline', shippedManifest(manifest, source, denoiser)),
          denoiserBytes: denoiser.sizeBytes,
          floatDenoiserBytes,
          summary: describe(bytesByPart(converted, denoiser.sizeBytes), floatDenoiserBytes),
        };
      },
    );
}

/** The float weights beside the denoiser and the float model's README are left out: the report writes a card of its own. */
function shippedManifest(manifest: PipelineManifest, source: Pipeline, denoiser: ArtifactRef): PipelineManifest {
  const { modelPath } = source.denoiser;
  const left = new Set(['README.md', ...externalFiles(source.files, source.denoiser)]);
  const files = manifest.files.filter(({ path }) => !left.has(path));
  return { ...manifest, files: files.map(({ path, ref }) => ({ path, ref: path === modelPath ? denoiser : ref })) };
}

function describe(bytes: BytesByPart, floatBytes: number): string {
  const kilobytes = (count: number): string => `${Math.round(count / 1000)}`;
  const parts = `codes ${kilobytes(bytes.codes)}, scales ${kilobytes(bytes.scales)}, tables ${kilobytes(bytes.tables)}, float ${kilobytes(bytes.float)}, graph ${kilobytes(bytes.graph)} kB`;
  return `${(bytes.total / 1e6).toFixed(2)} MB, 1/${(floatBytes / bytes.total).toFixed(2)} of float: ${parts}`;
}
