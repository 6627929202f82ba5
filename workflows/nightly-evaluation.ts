import {
  ApplicationFailure,
  CancellationScope,
  defineQuery,
  executeChild,
  isCancellation,
  ParentClosePolicy,
  setCurrentDetails,
  setHandler,
  upsertMemo,
  upsertSearchAttributes,
  workflowInfo,
} from '@temporalio/workflow';
import { FAILURE_KINDS, type FailureKind } from '../contracts/errors.js';
import { EVALUATE_WORKFLOW, type EvaluationSpec, type EvaluationSummary } from '../contracts/evaluation-activities.js';
import type {
  JudgeNightResult,
  NightFailure,
  NightOutcome,
  NightRun,
  NightSummary,
} from '../contracts/night-activities.js';
import type { NightRecord } from '../contracts/night-record.js';
import { type NightSpec, nightSpecSchema } from '../contracts/nights.js';
import { HEADLINE_MEMO } from '../contracts/run-control.js';
import { type StageRow, SUMMARY_QUERY } from '../contracts/run-summary.js';
import { cell, stageTable } from './details.js';
import { nightActivitiesOn } from './night-activities.js';
import { JUDGE_ROW, nightRows, TELL_ROW } from './night-state.js';
import { parsed } from './proxied-activities.js';
import { progressQuery, type TaskQueues, taskQueuesSchema } from './quantize-pipeline.js';

export const nightSummaryQuery = defineQuery<NightSummary>(SUMMARY_QUERY);

/**
 * One night: evaluates each tracked pipeline as its folder is now, compares the scores with the nights before, tells who wants to know, and fails
 * on purpose when quality got worse. A pipeline that cannot be evaluated keeps none of the others from it.
 */
export async function nightlyEvaluation(rawSpec: NightSpec, rawQueues: TaskQueues): Promise<NightSummary> {
  const spec = parsed(nightSpecSchema, rawSpec, 'night');
  const queues = parsed(taskQueuesSchema, rawQueues, 'task queues');
  return new Night(spec, queues).execute();
}

const HOUR_MS = 3_600_000;

class Night {
  private summary: NightSummary;
  private readonly run: NightRun;
  private readonly calls: ReturnType<typeof nightActivitiesOn>;

  constructor(
    private readonly spec: NightSpec,
    private readonly queues: TaskQueues,
  ) {
    this.calls = nightActivitiesOn(queues.host ?? queues.cpu);
    this.run = thisRun();
    const { workflowId, runId, at } = this.run;
    const stages = nightRows(spec);
    this.summary = {
      ...{ schemaVersion: 1, kind: 'night', workflowId, runId, night: spec.name, at, verdict: null, record: null },
      ...{ events: [], notified: '', total: stages.length, reused: 0, stages },
    };
    setHandler(progressQuery, () => {
      const done = this.summary.stages.filter(({ state }) => state === 'done' || state === 'failed').length;
      return { schemaVersion: 1, done, total: this.summary.total, stages: this.summary.stages };
    });
    setHandler(nightSummaryQuery, () => this.summary);
    upsertSearchAttributes({ NibbleRecipe: [spec.protocol.name] });
    this.show();
  }

  async execute(): Promise<NightSummary> {
    const outcomes = await this.evaluateAll();
    const { record, events, text } = await this.judge(outcomes);
    this.summary = { ...this.summary, verdict: record.verdict, record, events };
    upsertSearchAttributes({ NibbleVerdict: [record.verdict] });
    upsertMemo({ [HEADLINE_MEMO]: record.verdict });
    await this.tell(record, events, text);
    const regressed = record.pipelines.some(({ verdict }) => verdict === 'regression');
    if (regressed) throw failure('QUALITY_REGRESSION', text);
    const failed = record.pipelines.find((pipeline) => pipeline.failure !== null);
    if (failed) throw failure(failed.failure?.kind ?? 'Internal', text);
    return this.summary;
  }

  /** One after the other: each has shards for all workers. The time is limited, since a night that hangs keeps all later ones away. */
  private async evaluateAll(): Promise<NightOutcome[]> {
    const outcomes: NightOutcome[] = [];
    const limit = new CancellationScope({ timeout: this.spec.limitHours * HOUR_MS, cancellable: true });
    await limit.run(async () => {
      for (const pipeline of this.spec.pipelines) outcomes.push(await this.evaluate(pipeline, limit));
    });
    return outcomes;
  }

  private async evaluate(pipeline: NightSpec['pipelines'][number], limit: CancellationScope): Promise<NightOutcome> {
    const { name } = pipeline;
    const nothing = { name, failure: null, workflowId: null, spec: null, report: null, scores: [] };
    let spec: EvaluationSpec | null = null;
    this.setRow(name, { state: 'running' });
    try {
      ({ spec } = await this.calls.prepareNight({ night: this.spec, pipeline, run: this.run }));
      const workflowId = `${this.run.workflowId}/${name}`;
      const summary: EvaluationSummary = await executeChild(EVALUATE_WORKFLOW, {
        workflowId,
        args: [spec, this.queues],
        parentClosePolicy: ParentClosePolicy.REQUEST_CANCEL,
        staticSummary: `${name}, night ${this.spec.name}`.slice(0, 200),
      });
      const { report, scores, stages } = summary;
      const seconds = stages.reduce((sum, row) => sum + row.seconds, 0);
      this.setRow(name, { state: 'done', seconds, summary: `${scores.length} scores` });
      return { ...nothing, workflowId, spec, report, scores: [...scores] };
    } catch (error) {
      // Cancelled by somebody, not by the limit: the whole night ends.
      if (isCancellation(error) && this.root.consideredCancelled) throw error;
      const failed = isCancellation(error) && limit.consideredCancelled ? this.overdue() : failureOf(error);
      this.setRow(name, { state: 'failed', summary: failed.message.slice(0, 200) });
      return { ...nothing, spec, failure: failed };
    }
  }

  /** The scope of the whole workflow. */
  private readonly root = CancellationScope.current();

  private overdue(): NightFailure {
    const { limitHours } = this.spec;
    return { kind: 'Stalled', message: `the night took longer than ${limitHours} h (limitHours) and was ended` };
  }

  /** Without a verdict there is still something to tell. */
  private async judge(outcomes: NightOutcome[]): Promise<JudgeNightResult> {
    this.setRow(JUDGE_ROW, { state: 'running' });
    try {
      const judged = await this.calls.judgeNight({ night: this.spec, run: this.run, outcomes });
      this.setRow(JUDGE_ROW, { state: 'done', summary: judged.record.verdict });
      return judged;
    } catch (error) {
      if (isCancellation(error)) throw error;
      const failed = failureOf(error);
      const message = `the scores could not be judged: ${failed.message}`;
      this.setRow(JUDGE_ROW, { state: 'failed', summary: message.slice(0, 200) });
      return this.unjudged(outcomes, { ...failed, message });
    }
  }

  private unjudged(outcomes: readonly NightOutcome[], failed: NightFailure): JudgeNightResult {
    const { scheduleId: _, ...run } = this.run;
    const pipelines = outcomes.map(({ name, workflowId, report, failure: own }) => ({
      ...{ name, verdict: 'failed' as const, failure: own ?? failed, workflowId, report },
      ...{ candidate: null, identity: null, metrics: [] },
    }));
    const record: NightRecord = {
      ...{ schemaVersion: 1, night: this.spec.name, ...run, late: false, verdict: 'failed', pipelines },
      ...{ counts: null, missed: 0, skipped: 0, absent: [] },
    };
    const text = `${this.spec.name}: failed\n  ${failed.message}`;
    return { record, events: ['failed', 'finished'], text };
  }

  /** A message that cannot be delivered changes no verdict; the run says so. */
  private async tell(record: NightRecord, events: JudgeNightResult['events'], text: string): Promise<void> {
    const { notify } = this.spec;
    const wanted = events.filter((event) => notify?.on.includes(event));
    this.setRow(TELL_ROW, { state: 'running' });
    const lines: string[] = [];
    if (notify === null || wanted.length === 0) lines.push(notify === null ? 'nobody to tell' : 'nothing to tell');
    else {
      for (const way of ['webhook', 'command'] as const) {
        if (notify[way] === null) continue;
        try {
          lines.push((await this.calls.notifyNight({ way, notify, record, events: wanted, text })).told);
        } catch (error) {
          if (isCancellation(error)) throw error;
          lines.push(`not delivered: ${failureOf(error).message.split('\n')[0]}`);
        }
      }
    }
    const notified = lines.join('; ');
    this.summary = { ...this.summary, notified };
    const state = notified.includes('not delivered') ? 'failed' : 'done';
    this.setRow(TELL_ROW, { state, summary: notified.slice(0, 200) });
  }

  private setRow(id: string, change: Partial<StageRow>): void {
    const stages = this.summary.stages.map((row) => (row.id === id ? { ...row, ...change } : row));
    this.summary = { ...this.summary, stages };
    this.show();
  }

  private show(): void {
    const { night, at, verdict, stages } = this.summary;
    const title = `### Night ${cell(night)}, due ${at}${verdict === null ? '' : `: ${verdict}`}`;
    setCurrentDetails([title, '', ...stageTable(stages)].join('\n'));
  }
}

/** The server says which schedule started a run, and for when. */
function thisRun(): NightRun {
  const { workflowId, runId, startTime, searchAttributes } = workflowInfo();
  const { TemporalScheduledStartTime: due, TemporalScheduledById: by } = searchAttributes;
  const at = due?.[0];
  const id = by?.[0];
  return {
    ...{ workflowId, runId, startedAt: startTime.toISOString() },
    at: (at instanceof Date ? at : startTime).toISOString(),
    scheduleId: typeof id === 'string' ? id : null,
  };
}

function failure(kind: string, message: string): ApplicationFailure {
  const known = FAILURE_KINDS.find((each) => each === kind) ?? ('Internal' satisfies FailureKind);
  return ApplicationFailure.nonRetryable(message, known);
}

/** What the innermost cause says: a stage of the evaluation, or an activity of the night. */
function failureOf(error: unknown): NightFailure {
  let last = error;
  let kind = 'Internal';
  while (last instanceof Error) {
    if (last instanceof ApplicationFailure && last.type) kind = last.type;
    if (!(last.cause instanceof Error)) break;
    last = last.cause;
  }
  return { kind, message: last instanceof Error ? last.message : String(last) };
}
