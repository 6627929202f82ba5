import type { Client } from '@temporalio/client';
import type { LiveRoots } from '../activities/store/liveness.js';
import { refsIn } from '../activities/store/stage-cache.js';
import type { ArtifactRef } from '../contracts/artifact.js';
import { RUNS_QUERY } from './command-context.js';

/** What names artifacts beside the store: the server's runs. */
export interface RootedRuns {
  /** Runs that ended and are kept, the newest first. */
  readonly lastRuns: number;
  /** Ids of others that are kept. */
  readonly keep: readonly string[];
}

interface RunPlace {
  readonly workflowId: string;
  readonly runId?: string;
}

/**
 * The artifacts that running runs, the last ones and those asked for name anywhere in their histories. Throws whatever the
 * server answers with: who does not know all of them must not delete anything.
 */
export async function liveRoots(client: Client, { lastRuns, keep }: RootedRuns): Promise<LiveRoots> {
  const running: RunPlace[] = [];
  const finished: RunPlace[] = keep.map((workflowId) => ({ workflowId }));
  let runningSince = Number.POSITIVE_INFINITY;
  for await (const { workflowId, runId, startTime } of client.workflow.list({
    query: `(${RUNS_QUERY}) AND ExecutionStatus = 'Running'`,
  })) {
    running.push({ workflowId, runId });
    runningSince = Math.min(runningSince, startTime.getTime());
  }
  let left = lastRuns;
  for await (const { workflowId, runId } of client.workflow.list({
    query: `(${RUNS_QUERY}) AND ExecutionStatus != 'Running'`,
  })) {
    if (left === 0) break;
    left -= 1;
    finished.push({ workflowId, runId });
  }
  const [named, kept] = [await refsOfRuns(client, running), await refsOfRuns(client, finished)];
  return { running: named, finished: kept, runningSince };
}

/** Every artifact that a run's history names: what it was started with, what its activities took and gave. */
export async function refsOfRun(client: Client, { workflowId, runId }: RunPlace): Promise<ArtifactRef[]> {
  const { events } = await client.workflow.getHandle(workflowId, runId).fetchHistory();
  const refs = new Map<string, ArtifactRef>();
  for (const payload of payloadsIn(events ?? [])) for (const ref of refsIn(payload)) refs.set(ref.digest, ref);
  return [...refs.values()];
}

async function refsOfRuns(client: Client, runs: readonly RunPlace[]): Promise<ArtifactRef[]> {
  const all: ArtifactRef[] = [];
  for (const run of runs) all.push(...(await refsOfRun(client, run)));
  return all;
}

/** JSON values of all payloads, wherever they are in an event. */
function* payloadsIn(value: unknown): Generator<unknown> {
  if (value === null || typeof value !== 'object') return;
  if (value instanceof Uint8Array) {
    const payload = jsonOf(value);
    if (payload !== undefined) yield payload;
    return;
  }
  for (const member of Object.values(value)) yield* payloadsIn(member);
}

function jsonOf(bytes: Uint8Array): unknown {
  // Braces and brackets: other JSON names no artifacts.
  if (bytes[0] !== 0x7b && bytes[0] !== 0x5b) return undefined;
  try {
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return undefined;
  }
}
