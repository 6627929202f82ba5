import { type Activities, type TransformGraphResult, transformGraphInputSchema } from '../contracts/activities.js';
import { NibbleflowError } from '../contracts/errors.js';
import type { Recipe } from '../contracts/recipe.js';
import type { Compute } from '../contracts/stages.js';
import { modelChunks } from '../models/onnx/model-proto.js';
import type { Pipeline } from '../models/pipelines/pipeline.js';
import { planDenoiser } from '../quantization/plan-denoiser.js';
import { outputDifference } from '../quantization/transforms/output-difference.js';
import { SMOOTHING_CALLS, smoothDenoiser } from '../quantization/transforms/smooth-denoiser.js';
import { transformDenoiser } from '../quantization/transforms/transform-denoiser.js';
import type { EngineExecutor } from './engine/engine-executor.js';
import { loadCalibration } from './load-artifacts.js';
import { type ActivityDeps, runStage } from './stage-frame.js';
import { loadPipeline } from './stored-pipeline.js';

/**
 * Largest max|y − y′| / max|y| of a float-exact rewrite. Sums in another order move float32 outputs of a deep network by a
 * few 1e-6 of their size; a wrong rewrite moves them by parts of it.
 */
export const LARGEST_DIFFERENCE = 1e-4;

/** The check is small, and this stage belongs to the cpu queue. */
const CHECK_COMPUTE: Compute = { device: 'cpu', threads: 1 };

/** Simplifies and rewrites the denoiser, and proves on an engine that its float output stayed what it was. */
export function createTransformGraph(deps: ActivityDeps): Activities['transformGraph'] {
  return (rawInput) =>
    runStage(
      deps,
      {
        stage: 'transform',
        version: 1,
        input: transformGraphInputSchema,
        key: ({ pipeline, recipe, calibration }) => ({
          pipeline,
          transforms: recipe.transforms,
          ...(needsData(recipe) ? { calibration, plan: plannedBy(recipe), seed: recipe.calibration.seed } : {}),
        }),
      },
      rawInput,
      async ({ pipeline, recipe, calibration }, context): Promise<Omit<TransformGraphResult, 'reused' | 'seconds'>> => {
        const source = await loadPipeline(context.store, pipeline);
        const { graph, shapes, notes } = transformDenoiser(source, recipe.transforms);
        await context.breathe();
        const chosen: string[] = [];
        if (needsData(recipe)) {
          const { plan } = planDenoiser(source, recipe);
          const { set } = await loadCalibration(context.store, calibration ?? missing());
          const options = {
            graph,
            shapes,
            plan,
            calibration: set,
            denoiser: source.denoiser,
            seed: recipe.calibration.seed,
          };
          const smoothed = await context.withEngine(CHECK_COMPUTE, (executor) =>
            smoothDenoiser({
              ...options,
              executor,
              batchSize: Math.max(1, Math.floor(SMOOTHING_CALLS / context.microBatchDivisor)),
              breathe: context.breathe,
              onBatch: async (done, total) => {
                context.progress({ done, total, unit: 'batches', note: 'smoothing' });
                await context.breathe();
              },
            }),
          );
          chosen.push(smoothed);
        }
        const difference = await context.withEngine(CHECK_COMPUTE, async (executor) => {
          const found = await outputDifference(executor, source, graph);
          if (!(found <= LARGEST_DIFFERENCE)) throw await changedOutput(executor, source, recipe.transforms, found);
          return found;
        });
        return {
          graph: await context.store.putStream('graph', modelChunks(graph)),
          summary: `${[`${graph.nodes.length} nodes`, ...notes, ...chosen].join(', ')}; largest float difference ${difference.toExponential(1)}`,
        };
      },
    );
}

/** Whether a rewrite depends on calibration data. */
function needsData({ transforms }: Recipe): boolean {
  return transforms.includes('smooth');
}

/** What decides the schemes that smoothing is chosen for. */
function plannedBy({ weights, activations, edges, attention, overrides }: Recipe): unknown {
  return { weights, activations, edges, attention, overrides };
}

function missing(): never {
  throw new NibbleflowError('MissingArtifact', 'smoothing needs the calibration set');
}

/** Repeats the transforms one more at a time to say which of them it was. */
async function changedOutput(
  executor: EngineExecutor,
  pipeline: Pipeline,
  transforms: Recipe['transforms'],
  difference: number,
): Promise<NibbleflowError> {
  let culprit = 'simplification';
  for (let count = 0; count <= transforms.length; count += 1) {
    culprit = count === 0 ? culprit : (transforms[count - 1] ?? culprit);
    const { graph } = transformDenoiser(pipeline, transforms.slice(0, count));
    if (!((await outputDifference(executor, pipeline, graph)) <= LARGEST_DIFFERENCE)) break;
  }
  return new NibbleflowError(
    'InvalidModel',
    `${culprit} changed the denoiser's float output by ${difference.toExponential(1)} of its size`,
    {
      where: `${pipeline.name}/${pipeline.denoiser.modelPath}`,
      fix: `Leave it out of the recipe's transforms if it is one of them; otherwise please report the model.`,
    },
  );
}
