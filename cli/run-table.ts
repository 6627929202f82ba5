import type { StageRow } from '../contracts/run-summary.js';
import type { Progress } from '../contracts/stages.js';
import { durationText, insideText } from './progress-line.js';
import type { ActivityNow, RunSnapshot } from './run-snapshot.js';

const MARKS: Readonly<Record<StageRow['state'], string>> = {
  pending: ' ',
  running: '▶',
  paused: '⏸',
  done: '✓',
  reused: '↺',
  failed: '✗',
};

/** A run as lines: what it is, a row for each stage, and under the running one a line for each of its activities. */
export function runTable(snapshot: RunSnapshot, now: number): string[] {
  const { workflowId, state, startedAt, endedAt, progress, activities } = snapshot;
  const seconds = ((endedAt?.getTime() ?? now) - startedAt.getTime()) / 1000;
  if (progress === undefined) return [`${workflowId}  ${state}  ${durationText(seconds)}; no worker has answered yet`];
  const since = progress.pausedSince ? `, since ${progress.pausedSince.slice(11, 19)} UTC` : '';
  const head = `${workflowId}  ${state}  ${progress.done} of ${progress.total} stages  ${durationText(seconds)}${since}`;
  const width = Math.max(0, ...progress.stages.map(({ title }) => title.length));
  const rows = progress.stages.flatMap((row) => [
    `${MARKS[row.state]} ${row.title.padEnd(width)}  ${told(row)}`.trimEnd(),
    ...(row.state === 'running' || row.state === 'paused' ? activities.map((one) => `    ${activityLine(one)}`) : []),
  ]);
  return [head, ...rows];
}

function told({ state, seconds, summary }: StageRow): string {
  const time = state === 'done' ? durationText(seconds) : state === 'reused' || state === 'paused' ? state : '';
  return [time, summary].filter((text) => text !== '').join(' · ');
}

/** Progress, rate and remaining time; the attempt and why there is more than one; who runs it. */
export function activityLine({ type, isRunning, attempt, worker, progress, failure }: ActivityNow): string {
  const parts = [
    type,
    ...(isRunning ? progressParts(progress) : [attempt > 1 ? 'waits to be tried again' : 'waits for a worker']),
  ];
  if (attempt > 1) parts.push(`attempt ${attempt}`);
  if (failure !== null) parts.push(`last failure ${failure.kind}: ${failure.message.split('\n')[0] ?? ''}`);
  if (worker !== null) parts.push(`on ${worker}`);
  return parts.join(' · ');
}

function progressParts(progress: Progress | null): string[] {
  return progress === null ? ['started'] : insideText(progress);
}
