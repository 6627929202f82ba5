import { resolve } from 'node:path';
import { atomicWrite } from '../../activities/store/atomic-write.js';
import { NightRecords } from '../../activities/store/night-records.js';
import { NibbleflowError, nearestName } from '../../contracts/errors.js';
import type { NightRecord } from '../../contracts/night-record.js';
import { nightTimes } from '../../contracts/night-times.js';
import type { NightConfig } from '../../contracts/nights.js';
import { type NightTrend, nightTrend, type TrendData } from '../../evaluation/nights/trend-data.js';
import { scoreValue } from '../../evaluation/report/format-score.js';
import { renderTrend } from '../../evaluation/report/render-trend.js';
import { say } from '../console-output.js';
import type { LoadedConfig } from '../load-config.js';
import { openStore } from '../open-store.js';
import { textColumns } from '../text-columns.js';
import { cronOf } from './night-schedule.js';

const HOUR_MS = 3_600_000;

/** The history of one night, or of all: from the store alone, no server is asked. Throws InvalidInput for a night nobody knows. */
export async function loadTrend(loaded: LoadedConfig, wanted: string | undefined, now: number): Promise<TrendData> {
  const records = new NightRecords(await openStore(loaded));
  const known = [...new Set([...Object.keys(loaded.config.nights), ...(await records.names())])].sort();
  if (wanted !== undefined && !known.includes(wanted)) {
    const nearest = nearestName(wanted, known);
    throw new NibbleflowError('InvalidInput', `there is no night ${wanted}`, {
      where: loaded.file ?? loaded.storeDir,
      fix: nearest === undefined ? `Nights: ${known.join(', ') || 'none'}` : `Did you mean ${nearest}?`,
    });
  }
  const nights: NightTrend[] = [];
  for (const name of wanted === undefined ? known : [wanted]) {
    const history = await records.load(name, say);
    const config = loaded.config.nights[name];
    const { cron = null, timezone = 'UTC' } = config ?? {};
    nights.push(nightTrend({ name, cron, timezone }, history, dueSince(config, history, now)));
  }
  return { schemaVersion: 1, nights };
}

/** Due times since the last record that can neither be under way nor be caught up any more. */
function dueSince(config: NightConfig | undefined, history: readonly NightRecord[], now: number): string[] {
  const last = history.at(-1);
  if (config === undefined || last === undefined) return [];
  const until = now - Math.max(config.limitHours, config.catchupHours) * HOUR_MS;
  const times = nightTimes(cronOf(config.cron), config.timezone, Date.parse(last.at), until);
  return times.map((at) => new Date(at).toISOString());
}

/** Writes the page (atomic); gives its absolute path. Throws OutputNotWritable or DiskFull. */
export async function writeTrend(data: TrendData, path: string): Promise<string> {
  const file = resolve(path);
  await atomicWrite(file, [new TextEncoder().encode(renderTrend(data))]);
  return file;
}

/** A line for each pipeline and score: the last value, its baseline, what was said of it. */
export function trendText({ nights }: TrendData): string {
  const rows = nights.flatMap(({ name, panels }) =>
    panels.map((panel) => {
      const last = panel.points.at(-1);
      const value = scoreValue(panel, last?.value ?? null);
      const baseline = scoreValue(panel, last?.baseline ?? null);
      const alarms = panel.points.filter(({ verdict }) => verdict === 'regression').length;
      return [
        name,
        panel.pipeline,
        panel.name,
        value,
        baseline,
        last?.verdict ?? '',
        String(panel.points.length),
        String(alarms),
      ];
    }),
  );
  if (rows.length === 0) return 'No nights have run yet.';
  return textColumns([['night', 'pipeline', 'score', 'last', 'baseline', 'verdict', 'nights', 'alarms'], ...rows]);
}
