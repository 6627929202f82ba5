import {
  type Activities,
  type CorrectParametersResult,
  correctParametersInputSchema,
} from '../contracts/activities.js';
import type { Recipe } from '../contracts/recipe.js';
import type { Compute } from '../contracts/stages.js';
import { inferShapes } from '../models/onnx/shape-inference.js';
import { readSafetensors, writeSafetensors } from '../models/tensors/safetensors.js';
import {
  CALLS_PER_TIMESTEP,
  type CollectStatisticsOptions,
  collectStatistics,
  guidedCallWeight,
  statisticsDims,
} from '../quantization/calibration/collect-statistics.js';
import { type LayerStatistics, LayerStatisticsSum } from '../quantization/calibration/layer-statistics.js';
import { refitGraph } from '../quantization/calibration/refit-graph.js';
import { type QuantizedParameters, tensorsFromParameters } from '../quantization/quantized-parameters.js';
import { addBranches } from '../quantization/rounding/add-branches.js';
import { type BranchCost, branchCost } from '../quantization/rounding/branch-cost.js';
import { type BranchableLayer, branchableLayers } from '../quantization/rounding/branchable-layers.js';
import { refitOutputs } from '../quantization/rounding/refit-outputs.js';
import { tweakNorms } from '../quantization/rounding/tweak-norms.js';
import { loadCalibration, loadGraph, loadParameters, loadPlan } from './load-artifacts.js';
import { type ActivityDeps, runStage, type StageContext } from './stage-frame.js';

/** Changes rounded parameters in closed form, from moments of calibration inputs. */
export function createCorrectParameters(deps: ActivityDeps): Activities['correctParameters'] {
  return (rawInput) =>
    runStage(
      deps,
      {
        stage: 'correct',
        version: 4,
        input: correctParametersInputSchema,
        key: ({ recipe, ...input }) => ({
          ...input,
          lowRank: recipe.lowRank,
          ...(recipe.corrections.length > 0 ? { corrections: recipe.corrections } : {}),
          seed: recipe.calibration.seed,
          guidance: recipe.sampling.guidance,
        }),
      },
      rawInput,
      async (input, context): Promise<Omit<CorrectParametersResult, 'reused' | 'seconds'>> => {
        const { set, denoiser } = await loadCalibration(context.store, input.calibration);
        const graph = await loadGraph(context.store, input.graph);
        const plan = await loadPlan(context.store, input.plan);
        const parameters = await loadParameters(context.store, input.parameters);
        const source = { graph, plan, parameters, denoiser, calibration: set };
        const corrected = await new Correction(source, input.recipe, input.compute, context).run();
        const branches = branchCost(plan, corrected);
        return {
          parameters: await context.store.put('parameters', writeSafetensors(tensorsFromParameters(corrected))),
          branches,
          summary: describe(branches, input.recipe.corrections),
        };
      },
    );
}

type Source = Pick<CollectStatisticsOptions, 'graph' | 'plan' | 'parameters' | 'denoiser' | 'calibration'>;

/** The corrections a recipe asks for, one after the other. */
class Correction {
  private readonly layers: readonly BranchableLayer[];

  constructor(
    private readonly source: Source,
    private readonly recipe: Recipe,
    private readonly compute: Compute,
    private readonly context: StageContext,
  ) {
    this.layers = branchableLayers(source.graph, source.plan);
  }

  async run(): Promise<QuantizedParameters> {
    const { lowRank, corrections } = this.recipe;
    const needsMoments = lowRank.macsBudget > 0 || corrections.includes('norm-tweak');
    const statistics = needsMoments ? (await this.collected('moments', this.moments())).means() : null;
    let { parameters } = this.source;
    if (statistics !== null && lowRank.macsBudget > 0) parameters = await this.withBranches(parameters, statistics);
    if (corrections.includes('output-refit')) {
      const sum = await this.collected('refit', { build: refitGraph, withSensitivity: false, parameters });
      parameters = refitOutputs(this.layers, parameters, sum);
    }
    if (statistics !== null && corrections.includes('norm-tweak')) {
      const { graph, plan } = this.source;
      const shapes = inferShapes(graph, statisticsDims(this.batches()));
      const { breathe } = this.context;
      parameters = await tweakNorms({ graph, shapes, plan, parameters, statistics, breathe });
    }
    return parameters;
  }

  private moments(): Pick<CollectStatisticsOptions, 'withSensitivity' | 'callWeight'> {
    const { lowRank, sampling } = this.recipe;
    const isWeighed = lowRank.macsBudget > 0 && lowRank.weighting !== 'layer';
    const isGuided = isWeighed && lowRank.weighting === 'guided';
    return {
      withSensitivity: isWeighed,
      ...(isGuided ? { callWeight: guidedCallWeight(this.source.calibration, sampling.guidance) } : {}),
    };
  }

  private batches() {
    const batchSize = Math.max(1, Math.floor(CALLS_PER_TIMESTEP / this.context.microBatchDivisor));
    return { ...this.source, layers: this.layers, seed: this.recipe.calibration.seed, batchSize };
  }

  private collected(pass: Pass, change: Partial<CollectStatisticsOptions>): Promise<LayerStatisticsSum> {
    const options = { ...this.batches(), withSensitivity: false, ...change };
    return this.context.withEngine(this.compute, (executor) =>
      statisticsOf({ ...options, executor }, pass, this.context),
    );
  }

  private withBranches(parameters: QuantizedParameters, statistics: LayerStatistics): Promise<QuantizedParameters> {
    return addBranches(this.layers, {
      plan: this.source.plan,
      parameters,
      statistics,
      settings: this.recipe.lowRank,
      breathe: this.context.breathe,
      onLayer: async (done, total) => {
        this.context.progress({ done, total, unit: 'layers', note: 'float side branches' });
        await this.context.breathe();
      },
    });
  }
}

type Pass = 'moments' | 'refit';

/** Goes on from the checkpoint of an earlier attempt, as if nothing had happened; one of another pass is of no use here. */
async function statisticsOf(
  options: Omit<CollectStatisticsOptions, 'resume' | 'onBatch'>,
  pass: Pass,
  context: StageContext,
): Promise<LayerStatisticsSum> {
  const saved = await context.checkpoint.load();
  const resume = saved === undefined ? undefined : resumed(saved, pass);
  return collectStatistics({
    ...options,
    ...(resume === undefined ? {} : { resume }),
    onBatch: async (done, total, sums) => {
      context.progress({ done, total, unit: 'calls', note: `${pass} of the layers` });
      await context.checkpoint.offer(() => writeSafetensors(sums.toTensors(), { pass, calls: String(done) }));
    },
  });
}

function resumed(bytes: Uint8Array, pass: Pass): { sum: LayerStatisticsSum; calls: number } | undefined {
  const { tensors, metadata } = readSafetensors(bytes);
  if (metadata.pass !== pass) return undefined;
  return { sum: LayerStatisticsSum.fromTensors(tensors), calls: Number(metadata.calls) };
}

function describe(branches: BranchCost | null, corrections: Recipe['corrections']): string {
  const parts = corrections.map((name) => name.replace('-', ' '));
  if (branches === null) return parts.join(', ');
  const { layers, macs, bytes } = branches;
  const cost = `+${(100 * macs).toFixed(1)} % multiply-adds, ${Math.round(bytes / 1000)} kB`;
  return [`float side branches on ${layers} layers: ${cost}`, ...parts].join('; ');
}
