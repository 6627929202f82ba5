import { ACTIVITY_FACTORIES } from '../../activities/activity-factories.js';
import { createActivities } from '../../activities/create-activities.js';
import { loadPlan } from '../../activities/load-artifacts.js';
import type { LocalStore } from '../../activities/store/local-store.js';
import { StageCache, stageKey } from '../../activities/store/stage-cache.js';
import type { Activities, ConvertPipelineResult, FinetuneParametersResult } from '../../contracts/activities.js';
import type { ArtifactRef } from '../../contracts/artifact.js';
import type { Progress, RunSpec, StageOutcome } from '../../contracts/stages.js';
import { FAILURE_POLICIES } from '../../workflows/policies.js';
import type { BenchLog } from './bench-log.js';
import type { MeasuredEngines } from './measured-engines.js';
import { macsAtFourBits } from './protocol-scores.js';

export interface QuantizeOptions {
  readonly store: LocalStore;
  readonly engines: MeasuredEngines;
  readonly facts: Readonly<Record<string, string>>;
  readonly spec: RunSpec;
  /** Stop at the rounded weights. */
  readonly beforeOnly: boolean;
  readonly log: BenchLog;
}

export interface QuantizedRecipe {
  /** The imported float pipeline. */
  readonly reference: ArtifactRef;
  readonly before: ConvertPipelineResult;
  /** null when the recipe finetunes nothing, or was not asked to. */
  readonly after: ConvertPipelineResult | null;
  readonly finetuning: Finetuning | null;
  readonly macsAtFourBits: number;
  readonly stages: readonly (StageOutcome & { readonly id: string })[];
}

export interface Finetuning extends Pick<FinetuneParametersResult, 'validation' | 'training' | 'steps'> {
  /** null when another program than this one did the work. */
  readonly cost: StageCost | null;
}

export interface StageCost {
  readonly seconds: number;
  /** False when an earlier run that was interrupted spent some of the time. */
  readonly isComplete: boolean;
}

/** Quantizes with the product's own activities, in the workflow's order but without a server. */
export async function quantizeRecipe(options: QuantizeOptions): Promise<QuantizedRecipe> {
  const { spec, store } = options;
  const { recipe, compute } = spec;
  const run = new StageRun(options);
  const { activities, stages } = run;
  const { pipeline, prompts } = await run.stage('import', () => activities.importPipeline({ spec }));
  const { plan } = await run.stage('plan', () => activities.planQuantization({ pipeline, prompts, recipe }));
  const { calibration } = await run.stage('sample', () =>
    activities.sampleTrajectories({ pipeline, prompts, recipe, compute }),
  );
  const { graph } = await run.stage('transform', () => activities.transformGraph({ pipeline, recipe }));
  const { stats } = await run.stage('observe', () =>
    activities.observeActivations({ graph, plan, calibration, recipe, compute }),
  );
  const rounded = await run.stage('round', () => activities.roundWeights({ graph, plan, stats, recipe }));
  const convert = (id: string, parameters: ArtifactRef) =>
    run.stage(id, () => activities.convertPipeline({ pipeline, graph, plan, parameters, recipe }));
  const before = await convert('convert-before', rounded.parameters);
  const covered = macsAtFourBits((await loadPlan(store, plan)).layers);
  const finetunes = recipe.finetuning.enabled && recipe.finetuning.phases.length > 0 && !options.beforeOnly;
  const known = { reference: pipeline, before, macsAtFourBits: covered, stages };
  if (!finetunes) return { ...known, after: null, finetuning: null };
  const input = { graph, plan, calibration, parameters: rounded.parameters, recipe, compute };
  const tuned = await run.stage('finetune', () => activities.finetuneParameters(input));
  const { validation, training, steps } = tuned;
  const cost = await run.cost('finetune', tuned, {
    from: rounded.parameters,
    to: tuned.parameters,
    settings: recipe.finetuning,
    compute,
    facts: options.facts,
  });
  return {
    ...known,
    after: await convert('convert', tuned.parameters),
    finetuning: { validation, training, steps, cost },
  };
}

class StageRun {
  readonly stages: (StageOutcome & { readonly id: string })[] = [];
  readonly activities: Activities;
  /** Stages that went on from a checkpoint. */
  private readonly resumed = new Set<string>();

  constructor(private readonly options: QuantizeOptions) {
    const { store, engines, facts, spec } = options;
    const host = () => ({
      run: `bench ${spec.recipe.name}`,
      signal: new AbortController().signal,
      heartbeat: (details: unknown) => this.heard(details as Progress),
    });
    const deps = { store, engines, policies: FAILURE_POLICIES, facts, host };
    this.activities = createActivities(deps, ACTIVITY_FACTORIES) as Activities;
  }

  async stage<Result extends StageOutcome>(id: string, work: () => Promise<Result>): Promise<Result> {
    const result = await work();
    const { reused, seconds, summary } = result;
    this.stages.push({ id, reused, seconds, summary });
    this.options.log.line(`${id} ${reused ? 'reused' : `took ${seconds.toFixed(1)} s`}: ${summary}`);
    return result;
  }

  /** What a stage cost when its work was done, maybe in an earlier run: a result that is reused says 0 seconds. */
  async cost(stage: string, { reused, seconds }: StageOutcome, work: unknown): Promise<StageCost | null> {
    const cache = new StageCache(this.options.store);
    const key = stageKey({ stage: `bench cost of ${stage}`, version: 1, key: work });
    if (reused) return ((await cache.load(key)) as StageCost | undefined) ?? null;
    const cost = { seconds, isComplete: !this.resumed.has(stage) };
    await cache.save(key, cost);
    return cost;
  }

  private heard({ stage, done, total, unit, note, resumedAt }: Progress): void {
    if (resumedAt !== null) this.resumed.add(stage);
    if (total === 0) return;
    this.options.log.progress(`${stage}: ${Math.floor(done)} of ${total} ${unit} ${note}`);
  }
}
