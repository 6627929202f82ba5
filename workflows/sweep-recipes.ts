import { WorkflowExecutionAlreadyStartedError } from '@temporalio/common';
import {
  ApplicationFailure,
  CancellationScope,
  defineQuery,
  executeChild,
  isCancellation,
  ParentClosePolicy,
  setCurrentDetails,
  setHandler,
  upsertSearchAttributes,
  workflowInfo,
} from '@temporalio/workflow';
import type { FailureKind } from '../contracts/errors.js';
import { QUANTIZE_WORKFLOW, type RunSummary, type StageRow, SUMMARY_QUERY } from '../contracts/run-summary.js';
import { type SweepCell, type SweepSpec, type SweepSummary, sweepSpecSchema } from '../contracts/sweep.js';
import { stageTable, cell as tableCell } from './details.js';
import { activitiesOn, parsed, summarized } from './proxied-activities.js';
import { progressQuery, type TaskQueues, taskQueuesSchema } from './quantize-pipeline.js';

export const sweepSummaryQuery = defineQuery<SweepSummary>(SUMMARY_QUERY);

/** Stages that say how good a pipeline is, not how it is made: their time is not the recipe's. */
const MEASURING: ReadonlySet<string> = new Set(['evaluate', 'latency', 'report']);
const REPORT_ROW = 'report';

/**
 * Quantizes one pipeline with many recipes: each cell is a child run, `parallel` of them at a time. A cell that fails or is
 * cancelled does not stop the others; cancelling the sweep cancels its running cells. Fails when every cell has failed.
 */
export async function sweepRecipes(rawSpec: SweepSpec, rawQueues: TaskQueues): Promise<SweepSummary> {
  const spec = parsed(sweepSpecSchema, rawSpec, 'sweep spec');
  const queues = parsed(taskQueuesSchema, rawQueues, 'task queues');
  return new Sweep(spec, queues).execute();
}

class Sweep {
  private summary: SweepSummary;

  constructor(
    private readonly spec: SweepSpec,
    private readonly queues: TaskQueues,
  ) {
    this.summary = emptySummary(spec);
    setHandler(progressQuery, () => {
      const { stages } = this.summary;
      const done = stages.filter(({ state }) => state === 'done' || state === 'failed').length;
      return { schemaVersion: 1, done, total: stages.length, stages };
    });
    setHandler(sweepSummaryQuery, () => this.summary);
    upsertSearchAttributes({ NibbleModel: [spec.pipelineName] });
    this.show();
  }

  async execute(): Promise<SweepSummary> {
    const waiting = this.spec.cells.keys();
    const lanes = Math.min(this.spec.parallel, this.spec.cells.length);
    // Every lane takes the next cell that none has taken.
    await Promise.all(
      Array.from({ length: lanes }, async () => {
        for (const index of waiting) await this.runCell(index);
      }),
    );
    const { cells } = this.summary;
    if (cells.every(({ state }) => state === 'failed')) {
      const what = `every run of the sweep failed; the first: ${cells[0]?.message ?? ''}`;
      throw ApplicationFailure.nonRetryable(what, 'Internal' satisfies FailureKind);
    }
    return this.report();
  }

  private async runCell(index: number): Promise<void> {
    const cell = this.spec.cells[index];
    if (cell === undefined) return;
    this.setCell(index, { state: 'running' });
    this.setRow(cell.name, { state: 'running' });
    try {
      const result: RunSummary = await executeChild(QUANTIZE_WORKFLOW, {
        workflowId: cell.workflowId,
        args: [cell.spec, this.queues],
        parentClosePolicy: ParentClosePolicy.REQUEST_CANCEL,
        staticSummary: `${cell.name} (a cell of ${workflowInfo().workflowId})`.slice(0, 200),
      });
      const workSeconds = madeIn(result.stages);
      const headline = result.scores.at(-1) ?? null;
      const { denoiserBytes, floatDenoiserBytes } = result;
      this.setCell(index, { state: 'done', headline, denoiserBytes, floatDenoiserBytes, workSeconds });
      this.setRow(cell.name, { state: 'done', summary: resultLine(headline), seconds: workSeconds });
    } catch (error) {
      if (isCancellation(error) && CancellationScope.current().consideredCancelled) throw error;
      const message = cellMessage(error).slice(0, 500);
      this.setCell(index, { state: 'failed', message });
      this.setRow(cell.name, { state: 'failed', summary: message.slice(0, 200) });
    }
  }

  private async report(): Promise<SweepSummary> {
    const { workflowId, runId, out, cells, samples, pipeline: pipelineName } = this.summary;
    const { renderSweep } = activitiesOn(this.queues.host ?? this.queues.cpu);
    this.setRow(REPORT_ROW, { state: 'running' });
    const input = { workflowId, runId, pipelineName, out, parallel: this.spec.parallel, samples, cells: [...cells] };
    const result = await summarized(renderSweep, () => `write ${out}`.slice(0, 200))(input);
    this.summary = { ...this.summary, report: result.report, front: result.front };
    this.setRow(REPORT_ROW, { state: 'done', summary: result.summary, seconds: result.seconds });
    return this.summary;
  }

  private setCell(index: number, change: Partial<SweepCell>): void {
    const cells = this.summary.cells.map((cell, at) => (at === index ? { ...cell, ...change } : cell));
    this.summary = { ...this.summary, cells };
  }

  private setRow(id: string, change: Partial<StageRow>): void {
    const stages = this.summary.stages.map((row) => (row.id === id ? { ...row, ...change } : row));
    this.summary = { ...this.summary, stages };
    this.show();
  }

  private show(): void {
    const { pipeline, cells, stages } = this.summary;
    const title = `### Sweep of ${tableCell(pipeline)}: ${cells.length} runs, ${this.spec.parallel} at a time`;
    setCurrentDetails([title, '', ...stageTable(stages)].join('\n'));
  }
}

function emptySummary({ pipelineName, out, cells }: SweepSpec): SweepSummary {
  const { workflowId, runId } = workflowInfo();
  const row = (id: string, stage: StageRow['stage'], title: string): StageRow => ({
    ...{ id, stage, title, state: 'pending', summary: '', seconds: 0 },
  });
  return {
    schemaVersion: 1,
    kind: 'sweep',
    workflowId,
    runId,
    pipeline: pipelineName,
    out,
    samples: cells[0]?.spec.recipe.evaluation.samples ?? 0,
    report: null,
    stages: [...cells.map(({ name }) => row(name, 'quantize', name)), row(REPORT_ROW, 'report', `write ${out}`)],
    cells: cells.map(({ name, workflowId: id, spec }) => ({
      ...{ name, recipe: spec.recipe.name, workflowId: id, out: spec.out, state: 'pending', message: '' },
      ...{ headline: null, denoiserBytes: null, floatDenoiserBytes: null, workSeconds: null },
    })),
    front: [],
  };
}

/** Seconds of work behind a pipeline, whoever did it: reused stages count with what they took when they were made. */
function madeIn(stages: readonly StageRow[]): number {
  return stages
    .filter(({ stage }) => !MEASURING.has(stage))
    .reduce((sum, { seconds, workSeconds = seconds }) => sum + workSeconds, 0);
}

function resultLine(headline: SweepCell['headline']): string {
  return headline === null ? '' : `PSNR ${headline.psnrDb.toFixed(2)} dB`;
}

/** What became of a cell: in the end the message of the innermost cause, what the child's stage said. */
function cellMessage(error: unknown): string {
  if (isCancellation(error)) return 'the run was cancelled';
  if (error instanceof WorkflowExecutionAlreadyStartedError)
    return 'this run was started by itself or by another sweep and still goes on: repeat the sweep when it has ended';
  let last = error;
  while (last instanceof Error && last.cause instanceof Error) last = last.cause;
  return last instanceof Error ? last.message : String(last);
}
