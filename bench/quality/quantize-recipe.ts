import { loadPlan } from '../../activities/load-artifacts.js';
import { oneAtATime } from '../../activities/one-at-a-time.js';
import type { ConvertPipelineResult, FinetuneParametersResult } from '../../contracts/activities.js';
import type { ArtifactRef } from '../../contracts/artifact.js';
import { NibbleflowError } from '../../contracts/errors.js';
import { asksForCorrections } from '../../contracts/recipe.js';
import { gateRefusal } from '../../contracts/sensitivity-gate.js';
import type { RunSpec } from '../../contracts/stages.js';
import { reconstructBlocks } from '../../workflows/reconstruct-blocks.js';
import { macsAtFourBits } from './protocol-scores.js';
import { type Cost, totalCost } from './stage-costs.js';
import { type BenchStage, StageRun, type StageRunOptions } from './stage-run.js';

export interface QuantizeOptions extends StageRunOptions {
  /** Stop at the rounded weights. */
  readonly beforeOnly: boolean;
}

export interface QuantizedRecipe {
  /** The imported float pipeline. */
  readonly reference: ArtifactRef;
  /** Before finetuning; null when nothing is finetuned, `shipped` is it then. */
  readonly before: ConvertPipelineResult | null;
  readonly shipped: ConvertPipelineResult;
  readonly finetuning: Pick<FinetuneParametersResult, 'validation' | 'training' | 'steps'> | null;
  readonly macsAtFourBits: number;
  /** Extra multiply-adds of float side branches as a share of the denoiser's; null without one. */
  readonly floatBranchMacs: number | null;
  readonly stages: readonly BenchStage[];
  /** Of all stages that lead to `shipped`. */
  readonly cost: Cost;
}

/** Only made to be compared with. */
const BEFORE = 'convert-before';

/** Quantizes with the product's own activities, in the workflow's order but without a server. */
export async function quantizeRecipe(options: QuantizeOptions): Promise<QuantizedRecipe> {
  const { spec, store } = options;
  const { recipe, compute } = spec;
  const run = new StageRun(options);
  const { activities, stages } = run;
  const { pipeline, rounded, ...parts } = await roundedParameters(run, spec);
  const { graph, plan } = parts;
  const convert = (id: string, parameters: ArtifactRef) =>
    run.stage(id, () => activities.convertPipeline({ pipeline, graph, plan, parameters, recipe }));
  const training = { ...parts, recipe, compute };
  const corrected = asksForCorrections(recipe)
    ? await run.stage('correct', () => activities.correctParameters({ ...training, parameters: rounded }))
    : null;
  const unlearned = corrected?.parameters ?? rounded;
  const calls = { ...activities, reconstructBlock: oneAtATime(activities.reconstructBlock) };
  const reconstructed = recipe.reconstruction.enabled
    ? await run.stage('reconstruct', () => reconstructBlocks(calls, { ...training, pipeline, parameters: unlearned }))
    : null;
  const start = reconstructed?.parameters ?? unlearned;
  const finetunes = recipe.finetuning.enabled && recipe.finetuning.phases.length > 0 && !options.beforeOnly;
  const before = finetunes ? await convert(BEFORE, start) : null;
  const tuned = finetunes
    ? await run.stage('finetune', () => activities.finetuneParameters({ ...training, parameters: start }))
    : null;
  return {
    reference: pipeline,
    before,
    shipped: await convert('convert', tuned?.parameters ?? start),
    finetuning: tuned === null ? null : { validation: tuned.validation, training: tuned.training, steps: tuned.steps },
    macsAtFourBits: macsAtFourBits((await loadPlan(store, plan)).layers),
    floatBranchMacs: corrected?.branches?.macs ?? null,
    stages,
    cost: totalCost(stages.filter(({ id }) => id !== BEFORE).map(({ cost }) => cost)),
  };
}

/** Everything up to the nearest codes, with the bits that were chosen. */
async function roundedParameters(run: StageRun, spec: RunSpec) {
  const { activities } = run;
  const { recipe, compute } = spec;
  const { pipeline, prompts } = await run.stage('import', () => activities.importPipeline({ spec }));
  const planned = await run.stage('plan', () => activities.planQuantization({ pipeline, prompts, recipe }));
  const { calibration } = await run.stage('sample', () =>
    activities.sampleTrajectories({ pipeline, prompts, recipe, compute }),
  );
  const { graph } = await run.stage('transform', () => activities.transformGraph({ pipeline, recipe, calibration }));
  const arranging = { graph, plan: planned.plan, calibration, recipe, compute };
  const arranged =
    recipe.activations.channelOrder === 'alike'
      ? await run.stage('arrange', () => activities.arrangeChannels(arranging))
      : planned;
  const { stats } = await run.stage('observe', () =>
    activities.observeActivations({ ...arranging, plan: arranged.plan }),
  );
  const plan = await planAfterScan(run, spec, { pipeline, graph, plan: arranged.plan, stats, calibration });
  const rounded = await run.stage('round', () => activities.roundWeights({ graph, plan, stats, recipe }));
  return { pipeline, plan, calibration, graph, rounded: rounded.parameters };
}

interface Scanned {
  readonly pipeline: ArtifactRef;
  readonly graph: ArtifactRef;
  readonly plan: ArtifactRef;
  readonly stats: ArtifactRef;
  readonly calibration: ArtifactRef;
}

/** The plan, with other bits where the recipe lets them be chosen. Throws InvalidRecipe for a run that its gate refuses. */
async function planAfterScan(run: StageRun, { recipe, compute }: RunSpec, parts: Scanned): Promise<ArtifactRef> {
  const { activities } = run;
  if (!recipe.sensitivity.enabled) return parts.plan;
  const { sensitivity, medianError } = await run.stage('sensitivity', () =>
    activities.measureSensitivity({ ...parts, recipe, compute }),
  );
  const refusal = gateRefusal(medianError, recipe.sensitivity.gate);
  if (refusal !== null) throw new NibbleflowError('InvalidRecipe', refusal);
  if (recipe.mixedPrecision.method === 'none') return parts.plan;
  const choosing = { plan: parts.plan, sensitivity, recipe };
  return (await run.stage('mixed-precision', () => run.activities.chooseLayerBits(choosing))).plan;
}
