import { createHash } from 'node:crypto';
import type { Client } from '@temporalio/client';
import { parseCron } from '../contracts/cron.js';
import {
  type JudgeNightResult,
  judgeNightInputSchema,
  type NightActivities,
  type NightRun,
} from '../contracts/night-activities.js';
import type { NightRecord, ScheduleCounts } from '../contracts/night-record.js';
import { nightTimes } from '../contracts/night-times.js';
import type { NightSpec } from '../contracts/nights.js';
import { judgeNight } from '../evaluation/nights/judge-night.js';
import { nightText } from '../evaluation/nights/night-text.js';
import type { ActivityDeps } from './stage-frame.js';
import { NightRecords } from './store/night-records.js';
import { runUncached } from './uncached-activity.js';

/** gRPC's code of a schedule that is not there. */
const NOT_FOUND = 5;

/** Compares tonight's scores with the nights before, asks the server which nights did not run, and keeps the record. */
export function createJudgeNight(deps: ActivityDeps): NightActivities['judgeNight'] {
  return (rawInput) =>
    runUncached(
      deps.policies,
      judgeNightInputSchema,
      rawInput,
      async ({ night, run, outcomes }, context): Promise<JudgeNightResult> => {
        const records = new NightRecords(deps.store);
        const history = await records.load(night.name, (what) => context.log.warn(what));
        const judged = judgeNight({
          ...{ night, run, outcomes, history },
          counts: run.scheduleId === null ? null : await scheduleCounts(context.client, run.scheduleId),
          due: dueSince(night, run, history),
          digest: (text) => createHash('sha256').update(text).digest('hex'),
        });
        await records.save(judged.record);
        return { ...judged, text: nightText(judged.record) };
      },
    );
}

const MINUTE_MS = 60_000;

/** When the night was due between the record before and tonight, both left out: tonight's own time may be earlier by the jitter. */
function dueSince(
  { cron, timezone, jitterMinutes }: NightSpec,
  run: NightRun,
  history: readonly NightRecord[],
): string[] {
  const previous = history.filter(({ at, runId }) => at < run.at && runId !== run.runId).at(-1);
  const parsed = parseCron(cron);
  if (previous === undefined || typeof parsed === 'string') return [];
  const until = Date.parse(run.at);
  return nightTimes(parsed, timezone, Date.parse(previous.at), until)
    .filter((at) => at < until - jitterMinutes * MINUTE_MS)
    .map((at) => new Date(at).toISOString());
}

/** null for a schedule that was deleted since. */
async function scheduleCounts(client: Client, scheduleId: string): Promise<ScheduleCounts | null> {
  try {
    const { info } = await client.schedule.getHandle(scheduleId).describe();
    return { missed: info.numActionsMissedCatchupWindow, skipped: info.numActionsSkippedOverlap };
  } catch (error) {
    const { name, code } = error as { name?: string; code?: unknown };
    if (name === 'ScheduleNotFoundError' || code === NOT_FOUND) return null;
    throw error;
  }
}
