import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { runLogFolder } from '../../activities/run-log.js';

/** A line of a run log that says when a stage's body computed. */
export interface ComputedStage {
  readonly run: string;
  readonly stage: string;
  readonly activityId: string;
  /** Milliseconds since 1970, by the activity's own clock. */
  readonly startedAt: number;
  readonly endedAt: number;
}

/** Every stage that was computed (not reused) by the workers of a state folder. */
export function computedStages(stateDir: string): ComputedStage[] {
  const folder = runLogFolder(stateDir);
  return readdirSync(folder)
    .filter((name) => name.endsWith('.jsonl'))
    .flatMap((name) => readFileSync(join(folder, name), 'utf8').trim().split('\n'))
    .map((line) => JSON.parse(line) as ComputedStage & { event: string })
    .filter(({ event }) => event === 'stage-finished');
}

/** Milliseconds in which at least one of the intervals is open. */
export function unionMs(intervals: readonly Pick<ComputedStage, 'startedAt' | 'endedAt'>[]): number {
  let total = 0;
  let until = Number.NEGATIVE_INFINITY;
  for (const { startedAt, endedAt } of [...intervals].sort((a, b) => a.startedAt - b.startedAt)) {
    total += Math.max(0, endedAt - Math.max(startedAt, until));
    until = Math.max(until, endedAt);
  }
  return total;
}
