import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ApplicationFailure, CancelledFailure } from '@temporalio/activity';
import { MockActivityEnvironment } from '@temporalio/testing';
import { DefaultLogger } from '@temporalio/worker';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { EnginePool } from '../../activities/engine-pool.js';
import { type ActivityDeps, runStage, type StageContext } from '../../activities/stage-frame.js';
import { LocalStore } from '../../activities/store/local-store.js';
import { NibbleflowError } from '../../contracts/errors.js';
import type { StageOutcome } from '../../contracts/stages.js';
import { FAILURE_POLICIES } from '../../workflows/policies.js';

let folder: string;
let deps: ActivityDeps;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'nibbleflow-frame-'));
  const store = await LocalStore.open(folder);
  deps = { store, engines: new EnginePool(), policies: FAILURE_POLICIES, facts: {} };
});
afterEach(async () => {
  await deps.engines.close();
  await rm(folder, { recursive: true, force: true });
});

const schema = z.strictObject({ value: z.number() });
type Body = (input: { value: number }, context: StageContext) => Promise<{ summary: string }>;

function stage(body: Body, version = 1, progressTimeoutMs?: number): (input: unknown) => Promise<StageOutcome> {
  const options = { stage: 'round', version, input: schema, progressTimeoutMs } as const;
  return (input) => runStage(deps, options, input, body);
}

const run = (activity: (input: unknown) => Promise<StageOutcome>, input: unknown): Promise<StageOutcome> =>
  new MockActivityEnvironment({}, { logger: new DefaultLogger('ERROR') }).run(activity, input);

describe('the stage frame', () => {
  it('runs a stage once and finds the result afterwards', async () => {
    let runs = 0;
    const body: Body = async ({ value }) => {
      runs += 1;
      return { summary: `value ${value}` };
    };
    expect(await run(stage(body), { value: 3 })).toMatchObject({ reused: false, summary: 'value 3' });
    expect(await run(stage(body), { value: 3 })).toMatchObject({ reused: true, summary: 'value 3', seconds: 0 });
    await run(stage(body), { value: 4 });
    await run(stage(body, 2), { value: 3 });
    expect(runs).toBe(3);
  });

  it('refuses an invalid input for good and names the field', async () => {
    const failure = await run(
      stage(async () => ({ summary: '' })),
      { value: 'x' },
    ).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(ApplicationFailure);
    expect(failure).toMatchObject({ type: 'InvalidInput', nonRetryable: true });
    expect((failure as Error).message).toContain('value');
  });

  it('resumes from the checkpoint of the failed attempt and deletes it after success', async () => {
    const seen: (number | undefined)[] = [];
    const body: Body = async (_, context) => {
      seen.push((await context.checkpoint.load())?.[0]);
      await context.checkpoint.save(new Uint8Array([41]));
      if (seen.length === 1) throw new NibbleflowError('EngineCrashed', 'the engine was killed');
      return { summary: 'done' };
    };
    await expect(run(stage(body), { value: 1 })).rejects.toMatchObject({ type: 'EngineCrashed', nonRetryable: false });
    await run(stage(body), { value: 1 });
    expect(seen).toEqual([undefined, 41]);
    expect(await readdir(join(folder, 'checkpoints'))).toEqual([]);
  });

  it('halves the micro-batch after each OutOfMemory', async () => {
    const divisors: number[] = [];
    const body: Body = async (_, context) => {
      divisors.push(context.microBatchDivisor);
      if (divisors.length < 3) throw new NibbleflowError('OutOfMemory', 'out of memory');
      return { summary: 'fits' };
    };
    const activity = stage(body);
    await run(activity, { value: 1 }).catch(() => undefined);
    await run(activity, { value: 1 }).catch(() => undefined);
    await run(activity, { value: 1 });
    expect(divisors).toEqual([1, 2, 4]);
  });

  it('halves the micro-batch also while another run fails in the same stage', async () => {
    const divisors: Record<string, number[]> = { one: [], two: [] };
    const attempt = (runId: string): Promise<StageOutcome> => {
      const body: Body = async (_, { microBatchDivisor }) => {
        divisors[runId]?.push(microBatchDivisor);
        throw new NibbleflowError('OutOfMemory', 'out of memory');
      };
      const info = { workflowExecution: { workflowId: 'quantize/x', runId } };
      return new MockActivityEnvironment(info, { logger: new DefaultLogger('ERROR') }).run(stage(body), { value: 1 });
    };
    for (const runId of ['one', 'two', 'one', 'two', 'one']) await attempt(runId).catch(() => undefined);
    expect(divisors).toEqual({ one: [1, 2, 4], two: [1, 2] });
  });

  it('counts attempts by kind of failure', async () => {
    const kinds = ['EngineCrashed', 'Stalled', 'EngineCrashed', 'Stalled'] as const;
    const ends: (boolean | undefined)[] = [];
    for (const kind of kinds) {
      const failing = stage(async () => {
        throw new NibbleflowError(kind, 'no');
      });
      const failure = await run(failing, { value: 1 }).catch((error: unknown) => error as ApplicationFailure);
      ends.push((failure as ApplicationFailure).nonRetryable ?? undefined);
    }
    expect(ends).toEqual([false, false, false, true]);
  });

  it('does not try again what it cannot count, as on a full disk', async () => {
    await writeFile(join(folder, 'failures'), 'a file where the folder of counts would be');
    const failing = stage(async () => {
      throw new NibbleflowError('DiskFull', 'no space left');
    });
    await expect(run(failing, { value: 1 })).rejects.toMatchObject({ type: 'DiskFull', nonRetryable: true });
  });

  it('gives up a stage that makes no progress, although it lives', async () => {
    const hanging = stage(() => new Promise(() => undefined), 1, 200);
    await expect(run(hanging, { value: 1 })).rejects.toMatchObject({ type: 'Stalled', nonRetryable: false });
  });

  it('lets a stage live that makes progress for longer than the timeout', async () => {
    const slow = stage(
      async (_, context) => {
        for (let step = 0; step < 8; step += 1) {
          context.progress({ done: step, total: 8, unit: 'steps' });
          await new Promise((resolve) => setTimeout(resolve, 60));
        }
        return { summary: 'slow but alive' };
      },
      1,
      250,
    );
    expect(await run(slow, { value: 1 })).toMatchObject({ summary: 'slow but alive' });
  });

  it('reports a cancellation as one, keeps no result and aborts the signal', async () => {
    const environment = new MockActivityEnvironment({}, { logger: new DefaultLogger('ERROR') });
    let aborted = false;
    const body: Body = async (_, context) => {
      environment.cancel('CANCELLED');
      await context.breathe().catch(() => {
        aborted = context.signal.aborted;
      });
      throw new NibbleflowError('EngineCrashed', 'the child was killed by the cancellation');
    };
    await expect(environment.run(stage(body), { value: 1 })).rejects.toBeInstanceOf(CancelledFailure);
    expect(aborted).toBe(true);
    expect(
      await run(
        stage(async () => ({ summary: 'fresh' })),
        { value: 1 },
      ),
    ).toMatchObject({ reused: false });
  });

  it('refuses results that belong in the store', async () => {
    const large = stage(async () => ({ summary: 'x'.repeat(70_000) }));
    await expect(run(large, { value: 1 })).rejects.toMatchObject({ type: 'Internal', nonRetryable: true });
  });

  it('heartbeats progress with a rate, within 4 KB', async () => {
    const environment = new MockActivityEnvironment({}, { logger: new DefaultLogger('ERROR') });
    const beats: unknown[] = [];
    environment.on('heartbeat', (details: unknown) => beats.push(details));
    const body: Body = async (_, context) => {
      context.progress({ done: 0, total: 10, unit: 'steps' });
      await new Promise((resolve) => setTimeout(resolve, 30));
      context.progress({ done: 5, total: 10, unit: 'steps', note: 'n'.repeat(5000) });
      return { summary: '' };
    };
    await environment.run(stage(body), { value: 1 });
    expect(beats.at(-1)).toMatchObject({ stage: 'round', done: 5, total: 10, unit: 'steps' });
    expect((beats.at(-1) as { rate: number }).rate).toBeGreaterThan(1);
    expect(JSON.stringify(beats.at(-1)).length).toBeLessThan(4096);
  });
});
