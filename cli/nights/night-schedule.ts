import type { Client, ScheduleDescription, ScheduleOptions } from '@temporalio/client';
import { type Cron, type CronRange, parseCron } from '../../contracts/cron.js';
import { NibbleflowError } from '../../contracts/errors.js';
import { NIGHT_PREFIX, NIGHT_WORKFLOW, type NightSpec, type Overlap } from '../../contracts/nights.js';
import type { LoadedConfig } from '../load-config.js';
import { hostQueue } from '../server/host-queue.js';

type Calendar = NonNullable<ScheduleDescription['spec']['calendars']>[number];
type Month = Calendar['month'][number]['start'];
type Day = Calendar['dayOfWeek'][number]['start'];

const MONTHS = [
  ...['JANUARY', 'FEBRUARY', 'MARCH', 'APRIL', 'MAY', 'JUNE'],
  ...['JULY', 'AUGUST', 'SEPTEMBER', 'OCTOBER', 'NOVEMBER', 'DECEMBER'],
] as readonly Month[];
const DAYS = ['SUNDAY', 'MONDAY', 'TUESDAY', 'WEDNESDAY', 'THURSDAY', 'FRIDAY', 'SATURDAY'] as readonly Day[];
const OVERLAP_POLICIES = {
  skip: 'SKIP',
  'buffer-one': 'BUFFER_ONE',
  'buffer-all': 'BUFFER_ALL',
  'cancel-other': 'CANCEL_OTHER',
} as const satisfies Record<Overlap, ScheduleDescription['policies']['overlap']>;

const MINUTE_MS = 60_000;

export function scheduleIdOf(night: string): string {
  return `${NIGHT_PREFIX}${night}`;
}

/** The Temporal Schedule of a night. Its runs are called `night/<name>-<time it was due>`. */
export function scheduleOf(spec: NightSpec, loaded: LoadedConfig) {
  const { cpu, gpu } = loaded.config.taskQueues;
  const queues = { cpu: cpu.name, gpu: gpu.name, host: hostQueue(loaded.stateDir) };
  return {
    scheduleId: scheduleIdOf(spec.name),
    spec: {
      calendars: [calendarOf(spec)],
      timezone: spec.timezone,
      jitter: Math.round(spec.jitterMinutes * MINUTE_MS),
    },
    policies: {
      overlap: OVERLAP_POLICIES[spec.overlap],
      catchupWindow: Math.round(spec.catchupHours * 60 * MINUTE_MS),
      pauseOnFailure: false,
    },
    action: {
      type: 'startWorkflow' as const,
      workflowType: NIGHT_WORKFLOW,
      workflowId: `night/${spec.name}`,
      taskQueue: cpu.name,
      args: [spec, queues] as [NightSpec, typeof queues],
      staticSummary: `night ${spec.name}: ${spec.pipelines.map(({ name }) => name).join(', ')}`.slice(0, 200),
    },
  } satisfies ScheduleOptions;
}

export type NightSchedule = ReturnType<typeof scheduleOf>;

/** What decides a schedule, as text: equal for what is wanted and for what the server says it has. */
export function scheduleFacts({
  spec,
  policies,
  action,
}: NightSchedule | ScheduleDescription): Record<string, unknown> {
  const { calendars, timezone, jitter } = spec;
  const { overlap, catchupWindow, pauseOnFailure } = policies;
  const { workflowType, taskQueue, args } = action;
  const [night, queues] = args ?? [];
  const server = {
    calendars,
    timezone: timezone || 'UTC',
    jitter: jitter ?? 0,
    overlap,
    catchupWindow,
    pauseOnFailure,
  };
  return { night, queues, server, workflowType, taskQueue };
}

/** A night on the server. */
export interface AppliedNight {
  readonly name: string;
  /** The temporal.config.ts that declares it; empty for a schedule that is none of ours in spite of its id. */
  readonly owner: string;
  readonly description: ScheduleDescription;
}

/** All nights that the server has, sorted by name. */
export async function appliedNights(client: Client): Promise<AppliedNight[]> {
  const nights: AppliedNight[] = [];
  for await (const { scheduleId } of client.schedule.list()) {
    if (!scheduleId.startsWith(NIGHT_PREFIX)) continue;
    const night = await appliedNight(client, scheduleId.slice(NIGHT_PREFIX.length));
    if (night !== undefined) nights.push(night);
  }
  return nights.sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** A night on the server; undefined when it has none of that name. */
export async function appliedNight(client: Client, name: string): Promise<AppliedNight | undefined> {
  const { ScheduleNotFoundError } = await import('@temporalio/client');
  try {
    const description = await client.schedule.getHandle(scheduleIdOf(name)).describe();
    const spec = description.action.args?.[0] as Partial<NightSpec> | undefined;
    return { name, owner: spec?.owner ?? '', description };
  } catch (error) {
    if (error instanceof ScheduleNotFoundError) return undefined;
    throw error;
  }
}

/** In the form in which the server gives it back. */
function calendarOf({ cron: text }: NightSpec): Calendar {
  const cron = cronOf(text);
  return {
    second: [{ start: 0, end: 0, step: 1 }],
    minute: [...cron.minute],
    hour: [...cron.hour],
    dayOfMonth: [...cron.dayOfMonth],
    month: cron.month.map((range) => named(range, MONTHS, 1)),
    year: [],
    dayOfWeek: cron.dayOfWeek.map((range) => named(range, DAYS, 0)),
    comment: text,
  };
}

function named<Name>({ start, end, step }: CronRange, names: readonly Name[], first: number) {
  const name = (value: number): Name => {
    const found = names[value - first];
    if (found === undefined) throw new RangeError(`no name for ${value}`);
    return found;
  };
  return { start: name(start), end: name(end), step };
}

/** An expression that the configuration's schema has checked. */
export function cronOf(text: string): Cron {
  const cron = parseCron(text);
  if (typeof cron !== 'string') return cron;
  throw new NibbleflowError('InvalidInput', cron, { where: text });
}
