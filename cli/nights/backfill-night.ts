import type { Client } from '@temporalio/client';
import type { LocalStore } from '../../activities/store/local-store.js';
import { NightRecords } from '../../activities/store/night-records.js';
import { NibbleflowError } from '../../contracts/errors.js';
import { nightTimes, zoneOffset } from '../../contracts/night-times.js';
import type { NightSpec } from '../../contracts/nights.js';
import { findNight } from './find-night.js';
import { cronOf } from './night-schedule.js';

export interface BackfillOptions {
  /** A day in the night's time zone, or an ISO time. */
  readonly from: string;
  readonly to: string;
  /** Also the nights that have a record. */
  readonly again?: boolean;
}

export interface Backfilled {
  readonly name: string;
  /** ISO times that are run now, one after the other. */
  readonly nights: readonly string[];
  /** Due in the span too, but they ran. */
  readonly ran: readonly string[];
}

const DAY_MS = 24 * 3_600_000;
const MINUTE_MS = 60_000;

/**
 * Runs nights that did not run when they were due. What they measure is the folders of today: they are shown, but are no part of
 * baselines. Throws InvalidInput for spans that say nothing.
 */
export async function backfillNight(
  client: Client,
  store: LocalStore,
  name: string,
  { from, to, again }: BackfillOptions,
): Promise<Backfilled> {
  const { handle, spec } = await findNight(client, name);
  const start = edgeOf(from, spec, '--from', 0);
  const end = Math.min(edgeOf(to, spec, '--to', DAY_MS - 1), Date.now());
  const due = nightTimes(cronOf(spec.cron), spec.timezone, start - 1, end);
  if (due.length === 0) {
    throw new NibbleflowError('InvalidInput', `the night ${name} was not due from ${from} to ${to}`, {
      where: `${spec.cron} (${spec.timezone})`,
      fix: 'Give an earlier --from; nights to come cannot be backfilled.',
    });
  }
  const jitter = spec.jitterMinutes * MINUTE_MS;
  const records = (await new NightRecords(store).load(name)).map(({ at }) => Date.parse(at));
  const hasRun = (time: number): boolean => records.some((at) => at >= time && at <= time + jitter);
  const wanted = due.filter((time) => again === true || !hasRun(time));
  if (wanted.length > 0) {
    // A second on either side of each: nothing else is due in it.
    const spans = wanted.map((time) => ({ start: new Date(time - 1000), end: new Date(time + 1000) }));
    await handle.backfill(spans.map((span) => ({ ...span, overlap: 'BUFFER_ALL' as const })));
  }
  const text = (times: readonly number[]): string[] => times.map((time) => new Date(time).toISOString());
  return { name, nights: text(wanted), ran: text(due.filter((time) => !wanted.includes(time))) };
}

/** @param intoDay how far into a day that is given without a time */
function edgeOf(text: string, { timezone }: NightSpec, option: string, intoDay: number): number {
  const at = Date.parse(text);
  if (Number.isNaN(at)) {
    throw new NibbleflowError('InvalidInput', `${text} is no day and no time`, {
      where: option,
      fix: 'For example 2026-11-25, or 2026-11-25T02:00:00Z.',
    });
  }
  if (!/^\d{4}-\d{2}-\d{2}$/.test(text)) return at;
  return at + intoDay - zoneOffset(timezone)(at + intoDay) * MINUTE_MS;
}
