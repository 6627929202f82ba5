import { ACTIVITY_FACTORIES } from '../../activities/activity-factories.js';
import { createActivities } from '../../activities/create-activities.js';
import type { LocalStore } from '../../activities/store/local-store.js';
import type { Activities } from '../../contracts/activities.js';
import type { Progress, RunSpec, StageOutcome } from '../../contracts/stages.js';
import { FAILURE_POLICIES } from '../../workflows/policies.js';
import type { BenchLog } from './bench-log.js';
import type { MeasuredEngines } from './measured-engines.js';
import { type StageCost, StageCosts } from './stage-costs.js';

export interface StageRunOptions {
  readonly store: LocalStore;
  readonly engines: MeasuredEngines;
  readonly facts: Readonly<Record<string, string>>;
  readonly spec: RunSpec;
  readonly log: BenchLog;
}

/** A stage of a recipe as it went. */
export interface BenchStage extends StageOutcome {
  readonly id: string;
  /** null when another program than the bench did the work. */
  readonly cost: StageCost | null;
}

/** Runs activities of the product in this process and notes what they cost. */
export class StageRun {
  readonly stages: BenchStage[] = [];
  readonly activities: Activities;
  private readonly costs: StageCosts;
  /** Stages that went on from a checkpoint. */
  private readonly resumed = new Set<string>();

  constructor(private readonly options: StageRunOptions) {
    const { store, engines, facts, spec } = options;
    this.costs = new StageCosts(store, { compute: spec.compute, facts });
    const host = () => ({
      run: `bench ${spec.recipe.name}`,
      signal: new AbortController().signal,
      heartbeat: (details: unknown) => this.heard(details as Progress),
    });
    const deps = { store, engines, policies: FAILURE_POLICIES, facts, host };
    this.activities = createActivities(deps, ACTIVITY_FACTORIES) as Activities;
  }

  async stage<Result extends StageOutcome>(id: string, work: () => Promise<Result>): Promise<Result> {
    const { engines, log } = this.options;
    const result = await work();
    const { reused, seconds, summary } = result;
    const isComplete = !this.resumed.has(id);
    const cost = await this.costs.of(id, result, { isComplete, engineBytes: engines.peakBytes });
    this.stages.push({ id, reused, seconds, summary, cost });
    log.line(`${id} ${reused ? 'reused' : `took ${seconds.toFixed(1)} s`}: ${summary}`);
    return result;
  }

  private heard({ stage, done, total, unit, note, resumedAt }: Progress): void {
    if (resumedAt !== null) this.resumed.add(stage);
    if (total === 0) return;
    this.options.log.progress(`${stage}: ${Math.floor(done)} of ${total} ${unit} ${note}`);
  }
}
