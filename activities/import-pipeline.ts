import {
  type Activities,
  type ImportPipelineResult,
  importPipelineInputSchema,
  type PromptSets,
} from '../contracts/activities.js';
import type { RunSpec } from '../contracts/stages.js';
import type { Pipeline } from '../models/pipelines/pipeline.js';
import { drawPromptSets } from '../models/pipelines/prompt-sets.js';
import { readPipeline } from '../models/pipelines/read-pipeline.js';
import { checkComponents, copyFolder } from './copy-folder.js';
import { promptPool } from './prompt-pool.js';
import { type ActivityDeps, runStage, type StageContext } from './stage-frame.js';
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
  const { source, sourceDigest, pipelineName } = spec;
  const manifest = await copyFolder({ source, sourceDigest, name: pipelineName }, context);
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
