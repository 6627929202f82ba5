import {
  type Activities,
  type CorrectParametersResult,
  correctParametersInputSchema,
} from '../contracts/activities.js';
import { readSafetensors, writeSafetensors } from '../models/tensors/safetensors.js';
import {
  CALLS_PER_TIMESTEP,
  type CollectStatisticsOptions,
  collectStatistics,
  guidedCallWeight,
} from '../quantization/calibration/collect-statistics.js';
import { type LayerStatistics, LayerStatisticsSum } from '../quantization/calibration/layer-statistics.js';
import { tensorsFromParameters } from '../quantization/quantized-parameters.js';
import { addBranches } from '../quantization/rounding/add-branches.js';
import { type BranchCost, branchCost } from '../quantization/rounding/branch-cost.js';
import { branchableLayers } from '../quantization/rounding/branchable-layers.js';
import { CheckpointPace } from './checkpoint-pace.js';
import { loadCalibration, loadGraph, loadParameters, loadPlan } from './load-artifacts.js';
import { type ActivityDeps, runStage, type StageContext } from './stage-frame.js';

/** Changes rounded parameters in closed form, from second moments of calibration inputs: float side branches. */
export function createCorrectParameters(deps: ActivityDeps): Activities['correctParameters'] {
  return (rawInput) =>
    runStage(
      deps,
      {
        stage: 'correct',
        version: 2,
        input: correctParametersInputSchema,
        key: ({ recipe, ...input }) => ({
          ...input,
          lowRank: recipe.lowRank,
          seed: recipe.calibration.seed,
          guidance: recipe.sampling.guidance,
        }),
      },
      rawInput,
      async (input, context): Promise<Omit<CorrectParametersResult, 'reused' | 'seconds'>> => {
        const { recipe, compute } = input;
        const { set, denoiser } = await loadCalibration(context.store, input.calibration);
        const graph = await loadGraph(context.store, input.graph);
        const plan = await loadPlan(context.store, input.plan);
        const parameters = await loadParameters(context.store, input.parameters);
        const layers = branchableLayers(graph, plan);
        const options = { graph, plan, parameters, denoiser, layers, calibration: set, seed: recipe.calibration.seed };
        const { weighting } = recipe.lowRank;
        const weighted = {
          withSensitivity: weighting !== 'layer',
          ...(weighting === 'guided' ? { callWeight: guidedCallWeight(set, recipe.sampling.guidance) } : {}),
        };
        const statistics = await context.withEngine(compute, (executor) =>
          statisticsOf({ ...options, executor, ...weighted }, context),
        );
        const corrected = await addBranches(layers, {
          plan,
          parameters,
          statistics,
          settings: recipe.lowRank,
          onLayer: async (done, total) => {
            context.progress({ done, total, unit: 'layers', note: 'float side branches' });
            await context.breathe();
          },
        });
        const branches = branchCost(plan, corrected);
        return {
          parameters: await context.store.put('parameters', writeSafetensors(tensorsFromParameters(corrected))),
          branches,
          summary: describe(branches),
        };
      },
    );
}

/** Goes on from the checkpoint of an earlier attempt, as if nothing had happened. */
async function statisticsOf(
  options: Omit<CollectStatisticsOptions, 'batchSize' | 'resume' | 'onBatch'>,
  context: StageContext,
): Promise<LayerStatistics> {
  const saved = await context.checkpoint.load();
  const resume = saved === undefined ? undefined : resumed(saved);
  const pace = new CheckpointPace(performance.now());
  const sum = await collectStatistics({
    ...options,
    batchSize: Math.max(1, Math.floor(CALLS_PER_TIMESTEP / context.microBatchDivisor)),
    ...(resume === undefined ? {} : { resume }),
    onBatch: async (done, total, sums) => {
      context.progress({ done, total, unit: 'batches', note: 'second moments of the layers' });
      await context.breathe();
      if (!pace.isDue(performance.now())) return;
      await context.checkpoint.save(writeSafetensors(sums.toTensors(), { batches: String(done) }));
      pace.saved(performance.now());
    },
  });
  return sum.means();
}

function resumed(bytes: Uint8Array): { sum: LayerStatisticsSum; batches: number } {
  const { tensors, metadata } = readSafetensors(bytes);
  return { sum: LayerStatisticsSum.fromTensors(tensors), batches: Number(metadata.batches) };
}

function describe(branches: BranchCost | null): string {
  if (branches === null) return 'nothing to correct';
  const { layers, macs, bytes } = branches;
  return `float side branches on ${layers} layers: +${(100 * macs).toFixed(1)} % multiply-adds, ${Math.round(bytes / 1000)} kB`;
}
