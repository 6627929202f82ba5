import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Client, Connection, Client as TemporalClient } from '@temporalio/client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { LoadedConfig } from '../../cli/load-config.js';
import { applyNights, changesOf } from '../../cli/nights/apply-nights.js';
import { appliedNight, cronOf, scheduleFacts, scheduleIdOf, scheduleOf } from '../../cli/nights/night-schedule.js';
import { wantedNights } from '../../cli/nights/night-specs.js';
import { findServer } from '../../cli/server/find-server.js';
import { processRef, terminate } from '../../cli/server/processes.js';
import { type DevServer, startDevServer } from '../../cli/server/start-server.js';
import { configSchema } from '../../contracts/config.js';
import { nightTimes, wallClock } from '../../contracts/night-times.js';
import { type NightConfig, nightConfigSchema } from '../../contracts/nights.js';
import { anyFreePort } from './temporal-for-tests.js';

/** Schedules as the real server keeps them. No worker runs: whether a run is started is what is looked at. */

const LEAST_CATCHUP_MS = 10_000;
/** Enough to make the schedules and to end the server. */
const BEFORE_FIRST_MS = 10_000;
const ALWAYS = '*' as const;
const EVERY_FIVE_SECONDS = { second: { start: 0, end: 59, step: 5 }, minute: ALWAYS, hour: ALWAYS };

let folder: string;
let server: DevServer;
let ports: { port: number; uiPort: number };
let connection: Connection;
let client: Client;

async function startServer(): Promise<void> {
  const { path: binary } = await findServer({ announce: () => undefined });
  const files = { databaseFile: join(folder, 'temporal.db'), logFile: join(folder, 'server.log') };
  server = await startDevServer({ binary, ...ports, namespace: 'default', ...files, retentionDays: 1 });
  connection = await Connection.connect({ address: server.address });
  client = new TemporalClient({ connection });
}

async function killServer(): Promise<void> {
  await connection.close();
  await terminate(processRef(server.child.pid ?? 0), 0);
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'nibbleflow-nights-'));
  ports = { port: await anyFreePort(), uiPort: await anyFreePort() };
  await startServer();
});

afterAll(async () => {
  await killServer();
  await rm(folder, { recursive: true, force: true });
});

function configOf(nights: Record<string, Partial<NightConfig> & { cron: string }>): LoadedConfig {
  const pipelines = [{ name: 'tiny', folder: 'tiny' }];
  const full = Object.entries(nights).map(([name, night]) => [name, nightConfigSchema.parse({ pipelines, ...night })]);
  const config = { ...configSchema.parse({}), nights: Object.fromEntries(full) as Record<string, NightConfig> };
  const file = join(folder, 'temporal.config.ts');
  return { config, given: {}, file, stateDir: folder, storeDir: join(folder, 'store'), storeUrl: null };
}

const apply = async (loaded: LoadedConfig) => applyNights(client, loaded, await wantedNights(loaded), {});

describe('schedules of nights', () => {
  it.each([
    ['*/20 1-3,22 1-31/10 JAN,JUN-AUG MON-FRI', 'America/New_York'],
    ['0 0 * * 5-7', 'UTC'],
    ['30 2 * * *', 'Europe/Berlin'],
    ['5 4 1 * *', 'Australia/Lord_Howe'],
  ])('“%s” in %s is given back as it was sent, and comes due when we say', async (cron, timezone) => {
    const loaded = configOf({ form: { cron, timezone, overlap: 'buffer-one', catchupHours: 1, jitterMinutes: 0 } });
    await apply(loaded);
    const described = await appliedNight(client, 'form');
    const [wanted] = await wantedNights(loaded);
    if (described === undefined || wanted === undefined) throw new Error('the night is not there');
    const schedule = scheduleOf(wanted.spec, loaded);
    expect(changesOf(scheduleFacts(described.description), scheduleFacts(schedule))).toEqual([]);
    expect((await apply(loaded))[0]?.action).toBe('unchanged');
    const { nextActionTimes, createdAt } = described.description.info;
    const ours = nightTimes(cronOf(cron), timezone, createdAt.getTime(), nextActionTimes.at(-1)?.getTime() ?? 0);
    expect(nextActionTimes.map((at) => at.toISOString())).toEqual(ours.map((at) => new Date(at).toISOString()));
    expect(nextActionTimes.length).toBeGreaterThan(3);
  });

  it('keep the local hour across a change of clocks, as the server itself says of a day in spring', async () => {
    const loaded = configOf({ spring: { cron: '0 4 * * *', timezone: 'Europe/Berlin' } });
    await apply(loaded);
    const raw = await client.workflowService.listScheduleMatchingTimes({
      namespace: 'default',
      scheduleId: scheduleIdOf('spring'),
      startTime: stamp('2027-03-25T12:00:00Z'),
      endTime: stamp('2027-03-31T12:00:00Z'),
    });
    const times = raw.startTime.map(({ seconds }) => Number(seconds) * 1000);
    expect(times.map((at) => wallClock(at, 'Europe/Berlin').slice(-5))).toEqual(new Array(6).fill('04:00'));
    expect(times).toEqual(
      nightTimes(
        cronOf('0 4 * * *'),
        'Europe/Berlin',
        Date.parse('2027-03-25T12:00:00Z'),
        Date.parse('2027-03-31T12:00:00Z'),
      ),
    );
  });

  it('edited by somebody else are put right again', async () => {
    const loaded = configOf({ edited: { cron: '0 4 * * *' } });
    await apply(loaded);
    await client.schedule.getHandle(scheduleIdOf('edited')).update(({ spec: _, ...rest }) => ({
      ...rest,
      spec: { calendars: [{ hour: 5 }] },
      state: rest.state,
    }));
    const [row] = await apply(loaded);
    expect(row).toMatchObject({ action: 'updated' });
    expect(row?.changes.map(({ path }) => path)).toContain('server.calendars.0.hour.0.start');
    expect((await apply(loaded))[0]).toMatchObject({ action: 'unchanged' });
  });

  it('that came due while the server was down run once when it is back; what is left out is counted', async () => {
    // Nights of every five seconds, with the policies of real ones; the second may be late by the least that servers take.
    const loaded = configOf({ down: { cron: '* * * * *' }, late: { cron: '* * * * *' } });
    const startAt = new Date(Date.now() + BEFORE_FIRST_MS);
    for (const { spec } of await wantedNights(loaded)) {
      const schedule = scheduleOf(spec, loaded);
      const catchupWindow = spec.name === 'late' ? LEAST_CATCHUP_MS : schedule.policies.catchupWindow;
      const policies = { ...schedule.policies, catchupWindow };
      await client.schedule.create({ ...schedule, policies, spec: { calendars: [EVERY_FIVE_SECONDS], startAt } });
      expect((await appliedNight(client, spec.name))?.description.info.numActionsTaken).toBe(0);
    }
    await killServer();
    await sleep(startAt.getTime() + 2 * LEAST_CATCHUP_MS - Date.now());
    const up = Date.now();
    await startServer();
    const info = async (name: string) => (await appliedNight(client, name))?.description.info;
    await expect.poll(async () => (await info('down'))?.numActionsTaken, { timeout: 30_000 }).toBe(1);
    const first = (await info('down'))?.recentActions[0];
    // Due while nobody was there, and started after.
    expect(first?.scheduledAt.getTime()).toBeLessThan(up);
    expect(first?.takenAt.getTime()).toBeGreaterThan(up);
    // It still runs, since no worker does it: the others are left out, and counted.
    await expect
      .poll(async () => (await info('down'))?.numActionsSkippedOverlap, { timeout: 30_000 })
      .toBeGreaterThan(1);
    expect(await info('down')).toMatchObject({ numActionsTaken: 1, numActionsMissedCatchupWindow: 0 });
    await expect
      .poll(async () => (await info('late'))?.numActionsMissedCatchupWindow, { timeout: 30_000 })
      .toBeGreaterThan(0);
  });
});

function stamp(text: string) {
  return { seconds: Math.floor(Date.parse(text) / 1000) as never, nanos: 0 };
}
