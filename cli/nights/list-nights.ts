import { NightRecords } from '../../activities/store/night-records.js';
import type { NightVerdict } from '../../contracts/night-record.js';
import { wallClock } from '../../contracts/night-times.js';
import type { NightSpec } from '../../contracts/nights.js';
import type { ServerContext } from '../command-context.js';
import { openStore } from '../open-store.js';
import { changesOf, nextTimes } from './apply-nights.js';
import { type AppliedNight, appliedNights, scheduleFacts, scheduleOf } from './night-schedule.js';
import { wantedNights } from './night-specs.js';

export interface NightRow {
  readonly name: string;
  readonly state: 'applied' | 'differs' | 'not applied' | 'not in the configuration' | 'of another configuration';
  readonly owner: string;
  readonly cron: string;
  readonly timezone: string;
  readonly pipelines: readonly string[];
  readonly paused: boolean;
  /** Why it is paused. */
  readonly note: string;
  /** ISO times. */
  readonly next: readonly string[];
  /** Workflow ids. */
  readonly running: readonly string[];
  readonly taken: number;
  /** Due while the server was down for longer than the catch-up window. */
  readonly missed: number;
  /** Due while the night before still ran. */
  readonly skipped: number;
  readonly last: { readonly at: string; readonly verdict: NightVerdict } | null;
}

/** Nights of the server and of the configuration, sorted by name. */
export async function listNights({ client, loaded }: ServerContext): Promise<NightRow[]> {
  const wanted = await wantedNights(loaded);
  const applied = await appliedNights(client);
  const records = new NightRecords(await openStore(loaded));
  const names = [...new Set([...wanted.map(({ spec }) => spec.name), ...applied.map(({ name }) => name)])].sort();
  const rows: NightRow[] = [];
  for (const name of names) {
    const spec = wanted.find((night) => night.spec.name === name)?.spec;
    const night = applied.find((other) => other.name === name);
    const last = (await records.load(name)).at(-1);
    const state = stateOf(spec, night, loaded);
    rows.push({ ...rowOf(name, spec, night), state, last: last ? { at: last.at, verdict: last.verdict } : null });
  }
  return rows;
}

function stateOf(
  spec: NightSpec | undefined,
  night: AppliedNight | undefined,
  loaded: ServerContext['loaded'],
): NightRow['state'] {
  if (night === undefined) return 'not applied';
  if (night.owner !== loaded.file) return 'of another configuration';
  if (spec === undefined) return 'not in the configuration';
  const changes = changesOf(scheduleFacts(night.description), scheduleFacts(scheduleOf(spec, loaded)));
  return changes.length === 0 ? 'applied' : 'differs';
}

function rowOf(
  name: string,
  wanted: NightSpec | undefined,
  night: AppliedNight | undefined,
): Omit<NightRow, 'state' | 'last'> {
  const there = night?.description.action.args?.[0] as Partial<NightSpec> | undefined;
  const { cron = '', timezone = 'UTC', pipelines = [], owner = '' } = there ?? wanted ?? {};
  const { state, info } = night?.description ?? {};
  return {
    ...{ name, owner, cron, timezone, pipelines: pipelines.map((pipeline) => pipeline.name) },
    paused: state?.paused ?? false,
    note: state?.note ?? '',
    next: state?.paused ? [] : nextTimes(info?.nextActionTimes),
    running: info?.runningActions.map(({ workflow }) => workflow.workflowId) ?? [],
    taken: info?.numActionsTaken ?? 0,
    missed: info?.numActionsMissedCatchupWindow ?? 0,
    skipped: info?.numActionsSkippedOverlap ?? 0,
  };
}

/** A row in lines for people. */
export function nightRowText(row: NightRow): string {
  const { name, state, cron, timezone, pipelines, paused, note, next, running, missed, skipped, last } = row;
  const due = next[0] === undefined ? '' : ` · next ${wallClock(Date.parse(next[0]), timezone)} (${next[0]})`;
  return [
    `${name}  ${state}${paused ? `, paused${note === '' ? '' : ` (${note})`}` : ''}`,
    `  ${cron} (${timezone})${due}`,
    `  tracks ${pipelines.join(', ')}`,
    ...running.map((id) => `  running: ${id}`),
    ...(last === null ? [] : [`  last: ${last.at} ${last.verdict}`]),
    ...(missed + skipped === 0
      ? []
      : [
          `  did not run: ${missed} missed while the server was down, ${skipped} skipped since the night before still ran`,
        ]),
  ].join('\n');
}
