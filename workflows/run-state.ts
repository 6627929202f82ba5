import { asksForCorrections } from '../contracts/recipe.js';
import type { RunProgress, RunSummary, StageRow } from '../contracts/run-summary.js';
import type { RunSpec, Stage } from '../contracts/stages.js';

/** Ids of the activities of a run; conversion and evaluation can happen more than once. */
export type StageId =
  | Exclude<Stage, 'convert' | 'evaluate'>
  | 'convert'
  | 'convert-before'
  | 'evaluate'
  | 'evaluate-before'
  | 'evaluate-floor';

interface PlannedStage {
  readonly id: StageId;
  readonly stage: Stage;
  readonly title: string;
}

/** The activities that a run will execute, in order. */
export function plannedStages(spec: RunSpec): PlannedStage[] {
  const { recipe } = spec;
  const finetunes = recipe.finetuning.enabled && recipe.finetuning.phases.length > 0;
  const comparesBefore = finetunes && recipe.evaluation.beforeFinetuning;
  const choosesBits = recipe.sensitivity.enabled && recipe.mixedPrecision.method !== 'none';
  const weights = `${recipe.weights.bits}-bit`;
  const stages: (PlannedStage | false)[] = [
    { id: 'import', stage: 'import', title: `import ${spec.pipelineName}` },
    { id: 'plan', stage: 'plan', title: `plan ${recipe.name}: every layer's scheme` },
    { id: 'sample', stage: 'sample', title: `sample ${recipe.calibration.trajectories} float trajectories` },
    { id: 'transform', stage: 'transform', title: 'transform the graph, float output unchanged' },
    recipe.activations.channelOrder === 'alike' && {
      id: 'arrange',
      stage: 'arrange',
      title: 'arrange channels into groups of alike',
    },
    { id: 'observe', stage: 'observe', title: `observe activations at ${recipe.calibration.timesteps} timesteps` },
    recipe.sensitivity.enabled && { id: 'sensitivity', stage: 'sensitivity', title: sensitivityTitle(recipe) },
    choosesBits && { id: 'mixed-precision', stage: 'mixed-precision', title: "choose every layer's bits" },
    { id: 'round', stage: 'round', title: `round weights to ${weights} codes` },
    asksForCorrections(recipe) && { id: 'correct', stage: 'correct', title: correctTitle(recipe) },
    recipe.reconstruction.enabled && { id: 'reconstruct', stage: 'reconstruct', title: reconstructTitle(recipe) },
    { id: 'evaluate-floor', stage: 'evaluate', title: 'evaluate the noise floor: float, other seeds' },
    comparesBefore && { id: 'convert-before', stage: 'convert', title: 'convert the unfinetuned pipeline' },
    comparesBefore && { id: 'evaluate-before', stage: 'evaluate', title: 'evaluate before finetuning' },
    finetunes && { id: 'finetune', stage: 'finetune', title: finetuneTitle(recipe.finetuning.phases.length) },
    { id: 'convert', stage: 'convert', title: 'convert to QuantizeLinear/DequantizeLinear' },
    { id: 'evaluate', stage: 'evaluate', title: 'evaluate the shipped pipeline' },
    { id: 'latency', stage: 'latency', title: 'time float and shipped denoiser' },
    { id: 'report', stage: 'report', title: `write ${spec.out}` },
  ];
  return stages.filter((stage) => stage !== false);
}

function correctTitle({ lowRank, corrections }: RunSpec['recipe']): string {
  const share = (100 * lowRank.macsBudget).toFixed(1);
  const branches = lowRank.macsBudget > 0 ? [`float side branches of up to ${share} % of the multiply-adds`] : [];
  return `correct in closed form: ${[...branches, ...corrections].join(', ')}`;
}

function sensitivityTitle({ sensitivity }: RunSpec['recipe']): string {
  return sensitivity.bits.length === 0
    ? "measure the layers' own errors"
    : `scan layers one by one at ${sensitivity.bits.join(', ')} bits`;
}

function reconstructTitle({ reconstruction }: RunSpec['recipe']): string {
  return `reconstruct block by block, ${reconstruction.steps} steps each`;
}

function finetuneTitle(phases: number): string {
  return `finetune in ${phases} ${phases === 1 ? 'phase' : 'phases'}`;
}

/** All stages pending. */
function pendingRows(spec: RunSpec): StageRow[] {
  return plannedStages(spec).map((stage) => ({ ...stage, state: 'pending', summary: '', seconds: 0 }));
}

/** What a run says before it has done anything. */
export function emptySummary(
  spec: RunSpec,
  { workflowId, runId }: Pick<RunSummary, 'workflowId' | 'runId'>,
): RunSummary {
  const stages = pendingRows(spec);
  return {
    schemaVersion: 1,
    workflowId,
    runId,
    pipeline: spec.pipelineName,
    recipe: spec.recipe.name,
    device: spec.compute.device,
    out: spec.out,
    report: null,
    reused: 0,
    total: stages.length,
    stages,
    plan: null,
    gate: null,
    branches: null,
    validation: null,
    training: null,
    denoiserBytes: null,
    floatDenoiserBytes: null,
    samples: spec.recipe.evaluation.samples,
    scores: [],
    artifacts: {},
  };
}

/** How far it has come. */
export function progressOf(summary: RunSummary): RunProgress {
  const done = summary.stages.filter((row) => row.state === 'done' || row.state === 'reused').length;
  return { schemaVersion: 1, done, total: summary.total, stages: summary.stages };
}
