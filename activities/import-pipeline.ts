import { join } from 'node:path';
import {
  type Activities,
  type ImportPipelineResult,
  importPipelineInputSchema,
  type PromptSets,
} from '../contracts/activities.js';
import type { ArtifactRef } from '../contracts/artifact.js';
import { NibbleflowError } from '../contracts/errors.js';
import type { PipelineManifest, RunSpec } from '../contracts/stages.js';
import { checkModel } from '../models/onnx/check-model.js';
import { readComponentGraph } from '../models/pipelines/component-graph.js';
import type { Pipeline } from '../models/pipelines/pipeline.js';
import { drawPromptSets } from '../models/pipelines/prompt-sets.js';
import { readPipeline } from '../models/pipelines/read-pipeline.js';
import { promptPool } from './prompt-pool.js';
import { type ActivityDeps, runStage, type StageContext } from './stage-frame.js';
import { digestFolder } from './store/folder-digest.js';
import { storedFiles } from './stored-pipeline.js';

/** Copies a pipeline folder into the store, checks every model of it, and draws the prompts of the run. */
export function createImportPipeline(deps: ActivityDeps): Activities['importPipeline'] {
  return (rawInput) =>
    runStage(
      deps,
      { stage: 'import', version: 1, input: importPipelineInputSchema, key: ({ spec }) => keyOf(spec) },
      rawInput,
      ({ spec }, context): Promise<Omit<ImportPipelineResult, 'reused' | 'seconds'>> => importPipeline(spec, context),
    );
}

/** Neither the place of the folder nor device or output decide what is imported. */
function keyOf({ sourceDigest, pipelineName, prompts, recipe }: RunSpec): unknown {
  return { sourceDigest, pipelineName, prompts, settings: promptSettings(recipe) };
}

function promptSettings({ prompts, calibration, evaluation }: RunSpec['recipe']): unknown {
  return {
    evaluation: prompts.evaluation,
    trajectories: calibration.trajectories,
    samples: evaluation.samples,
    seed: evaluation.seed,
  };
}

async function importPipeline(
  spec: RunSpec,
  context: StageContext,
): Promise<Omit<ImportPipelineResult, 'reused' | 'seconds'>> {
  const manifest = await copyFolder(spec, context);
  const pipeline = readPipeline(await storedFiles(context.store, manifest));
  await checkComponents(pipeline, context);
  const prompts = await drawPrompts(spec, pipeline, context);
  const bytes = manifest.files.reduce((sum, { ref }) => sum + ref.sizeBytes, 0);
  return {
    pipeline: await context.store.putJson('pipeline', manifest),
    prompts: await context.store.putJson('file', prompts),
    summary: `${pipeline.className}: ${manifest.files.length} files, ${(bytes / 1e6).toFixed(1)} MB; ${describe(prompts, pipeline)}`,
  };
}

function describe(prompts: PromptSets, pipeline: Pipeline): string {
  const counts = `${prompts.calibration.length} to calibrate, ${prompts.evaluation.length} to evaluate`;
  return pipeline.textEncoder === null ? `no prompts: seeds alone, ${counts}` : `prompts: ${counts}`;
}

async function copyFolder(spec: RunSpec, context: StageContext): Promise<PipelineManifest> {
  const found = await digestFolder(spec.source).catch((error: unknown) => {
    throw error instanceof NibbleflowError ? error : unreadable(spec.source, error);
  });
  if (found.digest !== spec.sourceDigest) {
    throw new NibbleflowError('InvalidModel', 'the pipeline folder changed since the run was started', {
      where: spec.source,
      fix: 'Run the same command again: it starts a run for what the folder holds now.',
    });
  }
  const files: { path: string; ref: ArtifactRef }[] = [];
  for (const [index, { path, digest }] of found.files.entries()) {
    context.progress({ done: index, total: found.files.length, unit: 'files', note: path });
    const ref = await context.store.putFile('file', join(spec.source, path));
    if (ref.digest !== digest) throw unreadable(join(spec.source, path), new Error('it changed while it was read'));
    files.push({ path, ref });
    await context.breathe();
  }
  context.progress({ done: files.length, total: files.length, unit: 'files' });
  return { schemaVersion: 1, name: spec.pipelineName, files };
}

async function checkComponents(pipeline: Pipeline, context: StageContext): Promise<void> {
  for (const component of [pipeline.denoiser, pipeline.textEncoder, pipeline.vaeDecoder]) {
    if (component === null) continue;
    checkModel(readComponentGraph(pipeline.files, component), `${pipeline.name}/${component.modelPath}`);
    await context.breathe();
  }
  if (pipeline.denoiser.inputs.classLabels !== null) {
    throw new NibbleflowError('InvalidModel', 'class-conditional pipelines are not supported', {
      where: `${pipeline.name}/${pipeline.denoiser.modelPath}`,
      fix: 'Text-to-image and unconditional pipelines are.',
    });
  }
}

/** Models without text get empty prompts: their pictures differ by seed alone. */
async function drawPrompts(spec: RunSpec, pipeline: Pipeline, { store }: StageContext): Promise<PromptSets> {
  const { recipe } = spec;
  const evaluationCount = recipe.evaluation.samples;
  const calibrationCount = recipe.calibration.trajectories;
  if (pipeline.textEncoder === null) {
    return {
      calibration: new Array<string>(calibrationCount).fill(''),
      evaluation: new Array<string>(evaluationCount).fill(''),
    };
  }
  return drawPromptSets({
    prompts: spec.prompts === null ? promptPool(pipeline.files) : ((await store.getJson(spec.prompts)) as string[]),
    evaluation: recipe.prompts.evaluation,
    evaluationCount,
    calibrationCount,
    seed: recipe.evaluation.seed,
  });
}

function unreadable(where: string, cause: unknown): NibbleflowError {
  const what = `cannot read the pipeline: ${cause instanceof Error ? cause.message : String(cause)}`;
  return new NibbleflowError('InvalidModel', what, {
    where,
    fix: 'Check that it exists and that you may read it.',
    cause,
  });
}
