import type { Client } from '@temporalio/client';
import { canonicalJson } from '../../contracts/canonical-json.js';
import { NibbleflowError } from '../../contracts/errors.js';
import { clockChanges } from '../../contracts/night-times.js';
import type { NightSpec } from '../../contracts/nights.js';
import type { LoadedConfig } from '../load-config.js';
import {
  type AppliedNight,
  appliedNights,
  cronOf,
  type NightSchedule,
  scheduleFacts,
  scheduleIdOf,
  scheduleOf,
} from './night-schedule.js';
import type { WantedNight } from './night-specs.js';

export interface ApplyOptions {
  /** Deletes nights of this configuration that it no longer has. */
  readonly prune?: boolean;
  /** Takes over nights of the same name that another configuration made. */
  readonly adopt?: boolean;
  /** Says what would be done. */
  readonly dryRun?: boolean;
}

export interface NightChange {
  /** `cron`, `pipelines.0.folder` … */
  readonly path: string;
  readonly from: unknown;
  readonly to: unknown;
}

export interface AppliedRow {
  readonly name: string;
  readonly scheduleId: string;
  readonly action: 'created' | 'updated' | 'unchanged' | 'deleted' | 'leftover';
  readonly changes: readonly NightChange[];
  readonly paused: boolean;
  /** ISO times. */
  readonly next: readonly string[];
  readonly warnings: readonly string[];
}

const YEAR_MS = 366 * 24 * 3_600_000;
const SHOWN_TIMES = 3;

/**
 * Makes the server's schedules what temporal.config.ts says; what is so already is not touched, and whether a night is paused stays as it is.
 * Everything is checked before anything is written. Throws InvalidInput.
 * @param wanted nights of this configuration
 */
export async function applyNights(
  client: Client,
  loaded: LoadedConfig,
  wanted: readonly WantedNight[],
  options: ApplyOptions,
): Promise<AppliedRow[]> {
  const applied = await appliedNights(client);
  for (const { spec } of wanted) refuseForeignNight(spec, applied, options);
  const rows: AppliedRow[] = [];
  for (const night of wanted) {
    const before = applied.find(({ name }) => name === night.spec.name);
    rows.push(await applyNight(client, night, before, scheduleOf(night.spec, loaded), options));
  }
  const names = new Set(wanted.map(({ spec }) => spec.name));
  for (const night of applied) {
    if (night.owner === loaded.file && !names.has(night.name)) rows.push(await leftover(client, night, options));
  }
  return rows;
}

function refuseForeignNight(spec: NightSpec, applied: readonly AppliedNight[], { adopt }: ApplyOptions): void {
  const other = applied.find(({ name, owner }) => name === spec.name && owner !== spec.owner);
  if (other === undefined || adopt === true) return;
  throw new NibbleflowError('InvalidInput', `the server has a night ${spec.name} of another configuration`, {
    where: other.owner || scheduleIdOf(spec.name),
    fix: 'Call yours otherwise, or take it over with --adopt (for example after the file was moved).',
  });
}

async function applyNight(
  client: Client,
  { spec, warnings }: WantedNight,
  before: AppliedNight | undefined,
  schedule: NightSchedule,
  { dryRun }: ApplyOptions,
): Promise<AppliedRow> {
  const changes = before === undefined ? [] : changesOf(scheduleFacts(before.description), scheduleFacts(schedule));
  const action = before === undefined ? 'created' : changes.length === 0 ? 'unchanged' : 'updated';
  if (dryRun !== true && action !== 'unchanged') await write(client, schedule, before);
  const description =
    dryRun === true && before === undefined
      ? undefined
      : await client.schedule.getHandle(schedule.scheduleId).describe();
  const now = Date.now();
  return {
    name: spec.name,
    scheduleId: schedule.scheduleId,
    action,
    changes,
    paused: description?.state.paused ?? false,
    next: nextTimes(description?.info.nextActionTimes),
    warnings: [...warnings, ...clockWarnings(spec, now)],
  };
}

async function write(client: Client, schedule: NightSchedule, before: AppliedNight | undefined): Promise<void> {
  const { scheduleId, ...rest } = schedule;
  try {
    if (before === undefined) await client.schedule.create({ scheduleId, ...rest });
    else {
      await client.schedule
        .getHandle(scheduleId)
        .update(({ state: { paused, note } }) => ({ ...rest, state: { paused, ...(note ? { note } : {}) } }));
    }
  } catch (error) {
    // A time zone, say, that this machine knows and the server does not.
    if (!(error instanceof TypeError)) throw error;
    throw new NibbleflowError('InvalidInput', `the server refuses the schedule: ${error.message}`, {
      where: scheduleId,
      cause: error,
    });
  }
}

async function leftover(client: Client, night: AppliedNight, { prune, dryRun }: ApplyOptions): Promise<AppliedRow> {
  const scheduleId = scheduleIdOf(night.name);
  if (prune === true && dryRun !== true) await client.schedule.getHandle(scheduleId).delete();
  const { state, info } = night.description;
  const next = prune === true ? [] : nextTimes(info.nextActionTimes);
  const action = prune === true ? 'deleted' : 'leftover';
  return { name: night.name, scheduleId, action, changes: [], paused: state.paused, next, warnings: [] };
}

/** The next few times as ISO text. */
export function nextTimes(times: readonly Date[] = []): string[] {
  return times.slice(0, SHOWN_TIMES).map((time) => time.toISOString());
}

/** Clocks that go forward leave a night out, clocks that go back run it twice. */
function clockWarnings({ cron, timezone }: NightSpec, now: number): string[] {
  const changes = clockChanges(cronOf(cron), timezone, now, now + YEAR_MS);
  return changes
    .slice(0, 4)
    .map(({ wall, happens }) =>
      happens === 'never'
        ? `${wall} does not exist in ${timezone} (clocks go forward): no night then; choose another time of day`
        : `${wall} comes twice in ${timezone} (clocks go back): two nights then; choose another time of day`,
    );
}

/** Leaves that differ, by path; `night.` is left out, since that is what people wrote. */
export function changesOf(before: unknown, after: unknown): NightChange[] {
  const [old, fresh] = [leaves(before), leaves(after)];
  const paths = [...new Set([...old.keys(), ...fresh.keys()])].sort();
  return paths
    .filter((path) => canonicalJson(old.get(path) ?? null) !== canonicalJson(fresh.get(path) ?? null))
    .map((path) => ({ path: path.replace(/^night\./, ''), from: old.get(path) ?? null, to: fresh.get(path) ?? null }));
}

function leaves(value: unknown, path = ''): Map<string, unknown> {
  if (value === null || typeof value !== 'object' || Object.keys(value).length === 0) return new Map([[path, value]]);
  const found = new Map<string, unknown>();
  for (const [key, inner] of Object.entries(value)) {
    for (const [at, leaf] of leaves(inner, path === '' ? key : `${path}.${key}`)) found.set(at, leaf);
  }
  return found;
}
