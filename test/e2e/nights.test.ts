import { createHmac } from 'node:crypto';
import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { NightSummary } from '../../contracts/night-activities.js';
import type { NightRecord } from '../../contracts/night-record.js';
import type { TrendData } from '../../evaluation/nights/trend-data.js';
import { perturbed } from '../activities/perturbed-unet.js';
import { tinyUnet, writeTinyPipeline } from '../fixtures/tiny-pipeline.js';
import { anyFreePort } from '../workflows/temporal-for-tests.js';
import { CliHome } from './cli-home.js';

/** Nights through the command line alone: declared, applied, run, judged, told, drawn. */

const RUN_MS = 300_000;
/** The least lag and a short minimum: five nights until something is judged. */
const LEARNING_NIGHTS = 4;
/** Three seconds. */
const IDLE_MINUTES = 0.05;
const SECRET = 'a key that nobody may see';

interface Delivery {
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

let home: CliHome;
let receiver: Server;
let hook: string;
const deliveries: Delivery[] = [];
/** Answers of the receiver, in order; 200 when there are none left. */
const answers: number[] = [];

beforeAll(async () => {
  home = await CliHome.open({ name: 'unused' });
  Object.assign(home.env, { NIGHT_SECRET: SECRET });
  await writeTinyPipeline(join(home.folder, 'float'));
  await writeTinyPipeline(join(home.folder, 'candidate'), perturbed(tinyUnet(), 0.02));
  await writeFile(
    join(home.folder, 'tiny.yaml'),
    'name: tiny\nsamples: 8\nmetrics: []\nsampling: { steps: 3 }\ntrajectories: 8\ntimestepPairs: 16\n',
  );
  const port = await anyFreePort();
  hook = `http://127.0.0.1:${port}/hook`;
  receiver = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk: Buffer) => {
      body += chunk.toString();
    });
    request.on('end', () => {
      deliveries.push({ headers: request.headers, body });
      response.writeHead(answers.shift() ?? 200).end();
    });
  });
  await new Promise<void>((resolve) => receiver.listen(port, '127.0.0.1', resolve));
  await declare({});
}, RUN_MS);

afterAll(async () => {
  receiver.close();
  await home.close();
});

/** Writes temporal.config.ts with one night `quality`, changed as a test needs it, or without. */
async function declare(change: object | null, server: object = {}): Promise<void> {
  const file = join(home.folder, 'temporal.config.ts');
  const before = JSON.parse(/export default (.*);/s.exec(await readFile(file, 'utf8'))?.[1] ?? '{}') as {
    devServer: object;
  };
  const quality = {
    cron: '30 2 * * *',
    timezone: 'Europe/Berlin',
    pipelines: [{ folder: 'candidate', against: 'float' }],
    protocol: 'tiny.yaml',
    threads: 1,
    metrics: ['psnr', 'latent-sqnr'],
    baseline: { minimum: 1 },
    notify: { webhook: { url: hook, secretEnv: 'NIGHT_SECRET' }, on: ['regression', 'recovered', 'failed'] },
  };
  const nights = change === null ? {} : { quality: { ...quality, ...change } };
  const config = { ...before, nights, devServer: { ...before.devServer, ...server } };
  await writeFile(file, `export default ${JSON.stringify(config)};\n`);
}

const json = async <T>(...args: string[]): Promise<T> => {
  const { code, stdout, stderr } = await home.run(...args, '--output', 'json');
  if (code !== 0) throw new Error(`${args.join(' ')} ended with ${code}: ${stderr}`);
  return JSON.parse(stdout) as T;
};

interface Applied {
  readonly nights: readonly {
    action: string;
    name: string;
    next: string[];
    changes: { path: string; from: unknown; to: unknown }[];
  }[];
}

/** A night run now and followed to its end. */
async function trigger(): Promise<{ code: number | null; summary: NightSummary; stderr: string }> {
  const { code, stdout, stderr } = await home.run('schedule', 'trigger', 'quality', '--output', 'json');
  if (stdout === '') throw new Error(`trigger ended with ${code}: ${stderr}`);
  return { code, summary: JSON.parse(stdout) as NightSummary, stderr };
}

describe('nibbleflow schedule apply', () => {
  it.each([
    ['a bad cron expression', { cron: '61 2 * * *' }, 'minute: “61” is not within 0-59'],
    ['an unknown time zone', { timezone: 'Europe/Berln' }, 'did you mean Europe/Berlin?'],
    ['an unknown setting', { catchupHour: 3 }, 'did you mean nights.quality.catchupHours?'],
    ['an unknown metric', { metrics: ['psnrr'] }, 'Did you mean psnr?'],
    ['a protocol that is not there', { protocol: 'missing.yaml' }, 'missing.yaml'],
    ['an address with a password', { notify: { webhook: { url: 'http://a:b@c/', secretEnv: 'X' } } }, 'urlEnv'],
    ['nobody to tell', { notify: { on: ['failed'] } }, 'give a webhook or a command'],
  ])('refuses %s before anything is written', async (_, change, message) => {
    await declare(change);
    const result = await home.run('schedule', 'apply');
    expect(result).toMatchObject({ code: 2, stdout: '' });
    expect(result.stderr).toContain(message);
    await declare({});
  });

  it('creates, changes nothing the second time, updates what differs, and keeps a pause', async () => {
    expect((await json<Applied>('schedule', 'apply', '--dry-run')).nights).toMatchObject([{ action: 'created' }]);
    // Neither the refused ones nor the one that was only looked at.
    expect((await json<Applied>('schedule', 'list')).nights).toMatchObject([{ state: 'not applied' }]);
    const first = await home.run('schedule', 'apply');
    expect(first).toMatchObject({ code: 0 });
    expect(first.stdout).toMatch(/^quality: created, next .*T0[01]:30:00.000Z\n$/);
    expect(first.stderr).toContain('does not exist in Europe/Berlin (clocks go forward)');
    expect(first.stderr).toContain('Server and worker stay up');
    expect((await json<Applied>('schedule', 'apply')).nights).toMatchObject([{ action: 'unchanged', changes: [] }]);

    expect(await home.run('schedule', 'pause', 'quality', '--note', 'holidays')).toMatchObject({ code: 0 });
    await declare({ cron: '0 4 * * MON-FRI' });
    const changed = (await json<Applied>('schedule', 'apply')).nights[0];
    expect(changed).toMatchObject({ action: 'updated', paused: true });
    expect(changed?.changes).toContainEqual({ path: 'cron', from: '30 2 * * *', to: '0 4 * * MON-FRI' });
    expect((await home.run('schedule', 'list')).stdout).toContain('applied, paused (holidays)');
    expect(await home.run('schedule', 'resume', 'quality')).toMatchObject({ code: 0 });
    await declare({});
    expect((await json<Applied>('schedule', 'apply')).nights).toMatchObject([{ action: 'updated', paused: false }]);
  });

  it('leaves what it did not make, and deletes its own leftovers when told to', async () => {
    const config = join(home.folder, 'temporal.config.ts');
    await declare(null);
    expect((await json<Applied>('schedule', 'apply')).nights).toMatchObject([{ name: 'quality', action: 'leftover' }]);
    expect((await json<Applied>('schedule', 'apply', '--prune')).nights).toMatchObject([{ action: 'deleted' }]);
    expect((await json<Applied>('schedule', 'list')).nights).toEqual([]);
    await declare({});
    expect((await json<Applied>('schedule', 'apply')).nights).toMatchObject([{ action: 'created' }]);
    // The same server, another configuration: it neither prunes nor overwrites.
    const other = await CliHome.open({ name: 'unused' });
    try {
      await writeFile(join(other.folder, 'temporal.config.ts'), await readFile(config, 'utf8'));
      await writeFile(join(other.folder, 'tiny.yaml'), 'name: tiny\nsamples: 8\nmetrics: []\n');
      other.env.NIBBLEFLOW_HOME = home.home;
      const refused = await other.run('schedule', 'apply', '--prune');
      expect(refused).toMatchObject({ code: 2 });
      expect(refused.stderr).toContain('of another configuration');
    } finally {
      await rm(other.folder, { recursive: true, force: true });
    }
    expect((await json<Applied>('schedule', 'list')).nights).toMatchObject([{ name: 'quality', state: 'applied' }]);
    const unknown = await home.run('schedule', 'trigger', 'qualty');
    expect(unknown).toMatchObject({ code: 2 });
    expect(unknown.stderr).toContain('Did you mean quality?');
  });
});

describe('nights', { timeout: RUN_MS }, () => {
  const records: NightRecord[] = [];

  it('learn, judge, alarm with exit code 5 when quality gets worse, and tell of it by a signed message', async () => {
    for (let night = 0; night < LEARNING_NIGHTS; night += 1) {
      const { code, summary } = await trigger();
      expect(code).toBe(0);
      records.push(summary.record as NightRecord);
    }
    expect(records.map(({ verdict }) => verdict)).toEqual(['learning', 'learning', 'learning', 'steady']);
    expect(records[3]?.pipelines[0]?.metrics[0]).toMatchObject({ metric: 'psnr', baselineNights: 1 });
    expect(deliveries).toEqual([]);

    await writeTinyPipeline(join(home.folder, 'candidate'), perturbed(tinyUnet(), 0.5));
    const suspect = await trigger();
    expect(suspect).toMatchObject({ code: 0, summary: { verdict: 'suspect' } });
    answers.push(503);
    const bad = await trigger();
    expect(bad).toMatchObject({ code: 5, summary: { verdict: 'regression', notified: 'webhook answered 200' } });
    expect(bad.stderr).toContain('QUALITY_REGRESSION');
    expect(bad.stderr).toContain('candidate: regression · psnr-8');
    // Tried again after 503, with the same name of the delivery.
    expect(deliveries).toHaveLength(2);
    expect(new Set(deliveries.map(({ headers }) => headers['x-nibbleflow-delivery'])).size).toBe(1);
    for (const { headers, body } of deliveries) {
      const signature = `sha256=${createHmac('sha256', SECRET).update(body).digest('hex')}`;
      expect(headers['x-nibbleflow-signature']).toBe(signature);
      expect(JSON.parse(body)).toMatchObject({ night: 'quality', events: ['regression'], verdict: 'regression' });
    }
    expect((await home.run('attach', bad.summary.workflowId)).code).toBe(5);
    const listed = await json<{ nights: { last: unknown }[] }>('schedule', 'list');
    expect(listed.nights[0]?.last).toMatchObject({ verdict: 'regression' });
  });

  it('set the search attribute that the server lists by, and keep the key out of history and logs', async () => {
    const { address, namespace } = home.record();
    const { Client, Connection } = await import('@temporalio/client');
    const connection = await Connection.connect({ address });
    const client = new Client({ connection, namespace });
    try {
      await expect.poll(() => count(client, "NibbleVerdict = 'regression'")).toBe(1);
      await expect.poll(() => count(client, "NibbleVerdict = 'suspect'")).toBe(1);
      for await (const { workflowId } of client.workflow.list({ query: "NibbleVerdict = 'regression'" })) {
        const history = await client.workflow.getHandle(workflowId).fetchHistory();
        expect(JSON.stringify(history)).not.toContain(Buffer.from(SECRET).toString('base64').slice(0, 20));
        expect(Buffer.concat(payloads(history)).toString()).not.toContain(SECRET);
        expect(Buffer.concat(payloads(history)).toString()).toContain('NIGHT_SECRET');
      }
    } finally {
      await connection.close();
    }
    expect(await readFile(join(home.home, 'logs', 'worker.log'), 'utf8')).not.toContain(SECRET);
  });

  it('recover, and say so; a folder that is gone fails its pipeline', async () => {
    await writeTinyPipeline(join(home.folder, 'candidate'), perturbed(tinyUnet(), 0.02));
    deliveries.length = 0;
    expect(await trigger()).toMatchObject({ code: 5 });
    expect(await trigger()).toMatchObject({ code: 0, summary: { verdict: 'steady' } });
    expect(deliveries.map(({ body }) => (JSON.parse(body) as { events: unknown }).events)).toEqual([
      ['regression'],
      ['recovered'],
    ]);
    await rename(join(home.folder, 'candidate'), join(home.folder, 'away'));
    const failed = await trigger();
    expect(failed).toMatchObject({ code: 2, summary: { verdict: 'failed' } });
    expect(failed.stderr).toContain('the pipeline folder does not exist');
    await rename(join(home.folder, 'away'), join(home.folder, 'candidate'));
  });

  it('that did not run are run later by backfill, once, and are no part of the baseline', async () => {
    const yesterday = (days: number) => new Date(Date.now() - days * 24 * 3_600_000).toISOString().slice(0, 10);
    const filled = await json<{ nights: string[]; ran: string[] }>(
      ...['schedule', 'backfill', 'quality', '--from', yesterday(3), '--to', yesterday(2)],
    );
    expect(filled.nights).toHaveLength(2);
    await expect
      .poll(async () => nightsOf(await json<TrendData>('trend', 'quality')).length, {
        timeout: 120_000,
        interval: 2_000,
      })
      .toBe(LEARNING_NIGHTS + 6);
    const trend = await json<TrendData>('trend', 'quality');
    const late = nightsOf(trend).filter((point) => point.late);
    expect(late.map(({ at }) => at)).toEqual(filled.nights);
    const again = await json<{ nights: string[]; ran: string[] }>(
      ...['schedule', 'backfill', 'quality', '--from', yesterday(3), '--to', yesterday(2)],
    );
    expect(again).toMatchObject({ nights: [], ran: filled.nights });
    const future = await home.run('schedule', 'backfill', 'quality', '--from', '2099-01-01', '--to', '2099-01-02');
    expect(future).toMatchObject({ code: 2 });
    const { summary } = await trigger();
    // The four that learned and the suspect: no alarms, no backfilled nights, though these came before all of them.
    const { metrics } = summary.record?.pipelines[0] ?? { metrics: [] };
    expect(metrics[0]).toMatchObject({ verdict: 'steady', baselineNights: 5 });
  });

  it('are drawn as one page that loads nothing, without asking the server', async () => {
    await home.run('down');
    const page = join(home.folder, 'trend.html');
    const result = await home.run('trend', '--out', page);
    expect(result).toMatchObject({ code: 0 });
    expect(result.stdout).toMatch(/quality +candidate +psnr-8 .* steady/);
    const text = await readFile(page, 'utf8');
    expect(text.match(/class="alarm"/g)?.length).toBeGreaterThanOrEqual(4);
    expect(text).not.toMatch(/<script|https?:\/\/(?!www\.w3\.org)/);
    expect(home.processes()).toEqual([]);
    expect((await home.run('trend', 'qualty')).stderr).toContain('Did you mean quality?');
  });

  it('keep server and worker from going idle, unless they are paused', async () => {
    await declare({}, { idleMinutes: IDLE_MINUTES });
    expect(await home.run('schedule', 'list')).toMatchObject({ code: 0 });
    await sleep(4 * IDLE_MINUTES * 60_000);
    expect(home.processes().some(({ command }) => /worker-process\.js/.test(command))).toBe(true);
    expect(await home.run('schedule', 'pause', 'quality')).toMatchObject({ code: 0 });
    await expect.poll(() => home.processes(), { timeout: 120_000 }).toEqual([]);
  });
});

function nightsOf({ nights }: TrendData) {
  return nights[0]?.panels.find(({ metric }) => metric === 'psnr')?.points ?? [];
}

async function count(client: import('@temporalio/client').Client, query: string): Promise<number> {
  return (await client.workflow.count(query)).count;
}

/** All bytes of payloads in a history. */
function payloads(value: unknown): Buffer[] {
  if (value instanceof Uint8Array) return [Buffer.from(value)];
  if (value === null || typeof value !== 'object') return [];
  return Object.values(value).flatMap(payloads);
}
