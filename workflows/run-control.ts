import {
  ActivityFailure,
  ApplicationFailure,
  CancellationScope,
  condition,
  defineQuery,
  defineUpdate,
  isCancellation,
  setHandler,
  upsertSearchAttributes,
} from '@temporalio/workflow';
import {
  type ControlState,
  DECISIONS_QUERY,
  PAUSE_UPDATE,
  RESUME_UPDATE,
  type RowDecisions,
  RUN_STATES,
  type RunDecisions,
  type StartOptions,
} from '../contracts/run-control.js';
import type { StageRow } from '../contracts/run-summary.js';
import { RECOMPUTE_FIELD, type StageDecision } from '../contracts/stage-decision.js';
import type { StageOutcome } from '../contracts/stages.js';
import { summarized } from './proxied-activities.js';

export const pauseUpdate = defineUpdate<ControlState>(PAUSE_UPDATE);
export const resumeUpdate = defineUpdate<ControlState>(RESUME_UPDATE);
export const decisionsQuery = defineQuery<RunDecisions>(DECISIONS_QUERY);

/** Reasons kept of one row. */
const EXAMPLES = 4;

/** An activity that runs or waits for a worker. */
interface Call {
  readonly row: string;
  readonly scope: CancellationScope;
  interrupted: boolean;
}

/**
 * Pause, resume and recomputation of one run: every activity goes through `summarized`. Pausing cancels those that run, each in a
 * scope of its own, and holds back those to come; resuming schedules them again. They go on from their checkpoints, so that the
 * end is what it would have been.
 */
export class RunControl {
  private pausedSince: string | null = null;
  private row = '';
  private readonly calls = new Set<Call>();
  private decisions: RunDecisions = {};

  /** `onChange` shows the run's state. */
  constructor(
    private readonly options: StartOptions,
    private readonly onChange: () => void,
  ) {
    setHandler(pauseUpdate, () => this.pause(), {
      validator: () => this.refuse(this.pausedSince !== null, `the run is paused already, since ${this.pausedSince}`),
      description: 'Stops after the latest checkpoint and frees the devices; the run goes on when it is resumed.',
    });
    setHandler(resumeUpdate, () => this.resume(), {
      validator: () => this.refuse(this.pausedSince === null, 'the run is not paused'),
      description: 'Goes on after a pause.',
    });
    setHandler(decisionsQuery, () => this.decisions);
  }

  /** Activities called from now on belong to this row of the run's table. */
  enter(row: string): void {
    this.row = row;
  }

  /** When the run was paused; null while it runs. */
  get since(): string | null {
    return this.pausedSince;
  }

  /** The rows as people see them: what would run is paused. */
  shown(rows: readonly StageRow[]): readonly StageRow[] {
    if (this.pausedSince === null) return rows;
    return rows.map((row) => (row.state === 'running' ? { ...row, state: 'paused' as const } : row));
  }

  /** An activity that can be paused, with what the UI shows beside it. */
  summarized<Input, Result extends StageOutcome>(
    activity: (input: Input) => Promise<Result>,
    summaryOf: (input: Input) => string,
  ): (input: Input) => Promise<Result> {
    const call = summarized(activity, summaryOf);
    return (input) => this.run(call, input);
  }

  private async run<Input, Result extends StageOutcome>(
    activity: (input: Input) => Promise<Result>,
    plain: Input,
  ): Promise<Result> {
    const { row } = this;
    const { recompute } = this.options;
    const input = recompute?.stages.includes(row) ? { ...plain, [RECOMPUTE_FIELD]: recompute.request } : plain;
    for (;;) {
      await condition(() => this.pausedSince === null);
      const call: Call = { row, scope: new CancellationScope(), interrupted: false };
      this.calls.add(call);
      try {
        const result = await call.scope.run(() => activity(input));
        this.keep(row, result.decision);
        return result;
      } catch (error) {
        if (!call.interrupted || !isInterruption(error) || CancellationScope.current().consideredCancelled) throw error;
      } finally {
        this.calls.delete(call);
      }
    }
  }

  /** Ends when nothing computes any more. */
  private async pause(): Promise<ControlState> {
    this.pausedSince = new Date().toISOString();
    const stages = this.stages();
    for (const call of this.calls) {
      call.interrupted = true;
      call.scope.cancel();
    }
    this.show();
    await condition(() => this.calls.size === 0 || this.pausedSince === null);
    return { ...this.state(), stages };
  }

  private resume(): ControlState {
    const stages = this.stages();
    this.pausedSince = null;
    this.show();
    return { ...this.state(), stages };
  }

  private show(): void {
    upsertSearchAttributes({ NibbleState: [this.pausedSince === null ? RUN_STATES.running : RUN_STATES.paused] });
    this.onChange();
  }

  private state(): Omit<ControlState, 'stages'> {
    return { paused: this.pausedSince !== null, since: this.pausedSince };
  }

  /** Rows that have activities under way; those that wait belong to the row that was entered last. */
  private stages(): string[] {
    const running = [...this.calls].map(({ row }) => row);
    return [...new Set(running.length === 0 ? [this.row] : running)];
  }

  private refuse(isWrong: boolean, message: string): void {
    if (isWrong) throw ApplicationFailure.nonRetryable(message, 'InvalidInput');
  }

  private keep(row: string, decision: StageDecision | undefined): void {
    if (decision === undefined) return;
    this.decisions = { ...this.decisions, [row]: withDecision(this.decisions[row], decision) };
  }
}

/**
 * True for what an activity that was told to stop ends with: it was cancelled, its worker died or was shut down before it could
 * say so, or it failed in a way that would have been tried again.
 */
function isInterruption(error: unknown): boolean {
  return isCancellation(error) || (error instanceof ActivityFailure && error.retryState === 'CANCEL_REQUESTED');
}

function withDecision(known: RowDecisions | undefined, decision: StageDecision): RowDecisions {
  const { reused = 0, run = 0, equal = 0, different = 0, examples = [] } = known ?? {};
  const isReused = decision.outcome === 'reused';
  const isNew = !examples.some((example) => reason(example) === reason(decision));
  // Reasons to run are told before reasons to reuse.
  const kept = isReused ? examples : examples.filter(({ outcome }) => outcome !== 'reused');
  return {
    reused: reused + (isReused ? 1 : 0),
    run: run + (isReused ? 0 : 1),
    equal: equal + (decision.equal === true ? 1 : 0),
    different: different + (decision.equal === false ? 1 : 0),
    examples: isNew && kept.length < EXAMPLES && (!isReused || kept.length === 0) ? [...kept, decision] : kept,
  };
}

function reason({ outcome, differences }: StageDecision): string {
  return `${outcome} ${differences.map(({ path }) => path).join(' ')}`;
}
