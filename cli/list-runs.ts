import type { Client, WorkflowExecutionInfo } from '@temporalio/client';
import { HEADLINE_MEMO, RUN_STATES } from '../contracts/run-control.js';
import { RUNS_QUERY } from './command-context.js';

/** States that lists can be narrowed to, with the condition that the server is asked. */
const CONDITIONS = {
  running: "ExecutionStatus = 'Running'",
  paused: `ExecutionStatus = 'Running' AND NibbleState = '${RUN_STATES.paused}'`,
  completed: "ExecutionStatus = 'Completed'",
  failed: "ExecutionStatus = 'Failed'",
  cancelled: "ExecutionStatus = 'Canceled'",
  terminated: "ExecutionStatus = 'Terminated'",
} as const;
export type ListState = keyof typeof CONDITIONS;
export const LIST_STATES = Object.keys(CONDITIONS) as ListState[];

/** The server's pages are no larger. */
const PAGE = 200;

/** A run in a list: everything comes with the list itself. */
export interface RunRow {
  readonly workflowId: string;
  readonly runId: string;
  /** Pipeline; null for a run that did not get so far as to say it. */
  readonly model: string | null;
  readonly recipe: string | null;
  readonly state: string;
  /** Where it is, or was last. */
  readonly stage: string | null;
  readonly startedAt: string;
  readonly endedAt: string | null;
  /** From start to end, or to now, pauses included. */
  readonly seconds: number;
  /** How good it came out, in a few words; null until it is measured. */
  readonly headline: string | null;
}

/** The newest runs first, page by page, no further than `limit`. */
export async function listRuns(
  client: Client,
  { state, limit }: { readonly state: ListState | null; readonly limit: number },
): Promise<RunRow[]> {
  const query = state === null ? RUNS_QUERY : `(${RUNS_QUERY}) AND ${CONDITIONS[state]}`;
  const rows: RunRow[] = [];
  for await (const found of client.workflow.list({ query, pageSize: Math.min(limit, PAGE) })) {
    const row = rowOf(found, Date.now());
    if (state === null || row.state === state) rows.push(row);
    if (rows.length === limit) break;
  }
  return rows;
}

function rowOf(found: WorkflowExecutionInfo, now: number): RunRow {
  const { workflowId, runId, status, startTime, closeTime, searchAttributes, memo } = found;
  const attribute = (name: string): string | null => {
    const value = searchAttributes[name]?.[0];
    return typeof value === 'string' ? value : null;
  };
  const isPaused = status.name === 'RUNNING' && attribute('NibbleState') === RUN_STATES.paused;
  const headline = memo?.[HEADLINE_MEMO];
  return {
    workflowId,
    runId,
    model: attribute('NibbleModel'),
    recipe: attribute('NibbleRecipe'),
    state: isPaused ? RUN_STATES.paused : status.name.toLowerCase(),
    stage: attribute('NibbleStage'),
    startedAt: startTime.toISOString(),
    endedAt: closeTime?.toISOString() ?? null,
    seconds: ((closeTime?.getTime() ?? now) - startTime.getTime()) / 1000,
    headline: typeof headline === 'string' ? headline : null,
  };
}
