import { ACTIVITY_FACTORIES } from '../../activities/activity-factories.js';
import { createActivities } from '../../activities/create-activities.js';
import type { LocalStore } from '../../activities/store/local-store.js';
import type { Activities } from '../../contracts/activities.js';
import type { Progress, RunSpec, StageOutcome } from '../../contracts/stages.js';
import { FAILURE_POLICIES } from '../../workflows/policies.js';
import type { BenchLog } from './bench-log.js';
import type { MeasuredEngines } from './measured-engines.js';
import { ActivityCosts, type Cost, totalCost } from './stage-costs.js';

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
  readonly cost: Cost;
}

type Activity = (input: unknown) => Promise<StageOutcome>;

/** Runs activities of the product in this process, one at a time, and notes what they cost. */
export class StageRun {
  readonly stages: BenchStage[] = [];
  readonly activities: Activities;
  private readonly costs: ActivityCosts;
  /** Of the activities since the last stage. */
  private pending: Cost[] = [];
  /** Whether the running activity went on from a checkpoint. */
  private isResumed = false;

  constructor(private readonly options: StageRunOptions) {
    const { store, engines, facts, spec } = options;
    this.costs = new ActivityCosts(store, { compute: spec.compute, facts });
    const host = () => ({
      run: `bench ${spec.recipe.name}`,
      signal: new AbortController().signal,
      heartbeat: (details: unknown) => this.heard(details as Progress),
    });
    const deps = { store, engines, policies: FAILURE_POLICIES, facts, host };
    const activities = createActivities(deps, ACTIVITY_FACTORIES) as unknown as Record<string, Activity>;
    const measured = Object.entries(activities).map(([name, run]) => [name, this.measured(name, run)]);
    this.activities = Object.fromEntries(measured) as Activities;
  }

  /** Runs the activities of one stage. */
  async stage<Result extends StageOutcome>(id: string, work: () => Promise<Result>): Promise<Result> {
    const result = await work();
    const { reused, seconds, summary } = result;
    this.stages.push({ id, reused, seconds, summary, cost: totalCost(this.pending) });
    this.pending = [];
    this.options.log.line(`${id} ${reused ? 'reused' : `took ${seconds.toFixed(1)} s`}: ${summary}`);
    return result;
  }

  private measured(name: string, run: Activity): Activity {
    return async (input) => {
      this.isResumed = false;
      const result = await run(input);
      const { peakBytes: engineBytes } = this.options.engines;
      this.pending.push(await this.costs.of(name, result, { isComplete: !this.isResumed, engineBytes }));
      return result;
    };
  }

  private heard({ stage, done, total, unit, note, resumedAt }: Progress): void {
    if (resumedAt !== null) this.isResumed = true;
    if (total === 0) return;
    this.options.log.progress(`${stage}: ${Math.floor(done)} of ${total} ${unit} ${note}`);
  }
}
