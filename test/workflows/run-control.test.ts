import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type WorkflowHandle, WorkflowUpdateFailedError } from '@temporalio/client';
import { bundleWorkflowCode, DefaultLogger, NativeConnection, Runtime, Worker } from '@temporalio/worker';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { EnginePool } from '../../activities/engine-pool.js';
import { runStage, type StageContext } from '../../activities/stage-frame.js';
import { LocalStore } from '../../activities/store/local-store.js';
import { packageRoot } from '../../cli/package-root.js';
import { runEndOf } from '../../cli/run-failure.js';
import {
  type ControlState,
  DECISIONS_QUERY,
  PAUSE_UPDATE,
  RESUME_UPDATE,
  type RunDecisions,
  type StartOptions,
} from '../../contracts/run-control.js';
import { PROGRESS_QUERY, type RunProgress } from '../../contracts/run-summary.js';
import { FAILURE_POLICIES } from '../../workflows/policies.js';
import type { ControlledActivities } from './controlled-run.js';
import { startTestServer, type TestServer } from './temporal-for-tests.js';

/** Pause, resume and recomputation on a real server, through the real frame and store. The work is to count to STEPS. */

const STEPS = 4;
const QUEUE = 'controlled';
const input = z.strictObject({ name: z.string() });

/** Steps that were done, by name of the activity: one that was done twice shows here. */
let steps: Record<string, number[]>;
/** Where an activity stands still after a step, until this says otherwise or it is asked to stop. */
let holds: (name: string, step: number) => boolean;
/** Activities that answer nobody, as if their worker were gone. */
let deaf: Map<string, Promise<void>>;
/** Activities that ended at a checkpoint because they were asked to. */
let stopped: string[];

let server: TestServer;
let store: LocalStore;
let connection: NativeConnection;
let workflowBundle: { code: string };
let worker: Worker;
let running: Promise<void>;

const activities: ControlledActivities = {
  count: async (given) => {
    await deaf.get(given.name);
    const deps = { store, engines: new EnginePool(), policies: FAILURE_POLICIES, facts: {} };
    return runStage(deps, { stage: 'finetune', version: 1, input }, given, ({ name }, context) => count(name, context));
  },
};

async function count(name: string, context: StageContext) {
  let done = (await context.checkpoint.load())?.[0] ?? 0;
  while (done < STEPS) {
    done += 1;
    steps[name] = [...(steps[name] ?? []), done];
    await context.checkpoint.save(new Uint8Array([done]));
    context.progress({ done, total: STEPS, unit: 'steps' });
    while (holds(name, done)) await standingStill(name, done, context);
  }
  return { summary: `${name} counted`, total: done };
}

/** Work that goes on without getting further, and ends at a checkpoint when it is asked to stop. */
async function standingStill(name: string, done: number, context: StageContext): Promise<void> {
  await sleep(20);
  try {
    await context.checkpoint.save(new Uint8Array([done]));
  } catch (error) {
    stopped.push(name);
    throw error;
  }
}

beforeAll(async () => {
  Runtime.install({ logger: new DefaultLogger('ERROR') });
  server = await startTestServer();
  store = await LocalStore.open(join(server.folder, 'store'));
  connection = await NativeConnection.connect({ address: server.address });
  const workflowsPath = join(packageRoot(), 'test', 'workflows', 'controlled-run.ts');
  workflowBundle = await bundleWorkflowCode({ workflowsPath, logger: new DefaultLogger('ERROR') });
  await startWorker();
});
afterAll(async () => {
  await stopWorker();
  await connection.close();
  await server.stop();
});
beforeEach(() => {
  steps = {};
  holds = () => false;
  deaf = new Map();
  stopped = [];
});

async function startWorker(): Promise<void> {
  worker = await Worker.create({
    ...{ connection, activities, workflowBundle, taskQueue: QUEUE },
    maxHeartbeatThrottleInterval: 200,
    shutdownForceTime: '5 seconds',
  });
  running = worker.run();
}

async function stopWorker(): Promise<void> {
  worker.shutdown();
  await running;
}

/** The workflow's store is shared between tests: names keep their results apart. */
async function start(workflowId: string, options?: StartOptions): Promise<WorkflowHandle> {
  return server.client.workflow.start('controlledRun', { workflowId, taskQueue: QUEUE, args: [QUEUE, options] });
}

const pause = (run: WorkflowHandle) => run.executeUpdate<ControlState, []>(PAUSE_UPDATE);
const resume = (run: WorkflowHandle) => run.executeUpdate<ControlState, []>(RESUME_UPDATE);
const pending = async (run: WorkflowHandle) => (await run.describe()).raw.pendingActivities ?? [];
const reached = (name: string, step: number) => expect.poll(() => steps[name]?.at(-1), { timeout: 20_000 }).toBe(step);
const forget = () => Promise.all(['results', 'identities'].map((folder) => removeFolder(folder)));

async function removeFolder(name: string): Promise<void> {
  await rm(join(store.folder, name), { recursive: true, force: true });
}

describe('a run under control', { timeout: 60_000 }, () => {
  beforeEach(forget);

  it('stops in the middle of an activity, computes nothing, and goes on from the checkpoint to the same end', async () => {
    const undisturbed = await (await start('undisturbed')).result();
    expect(steps).toEqual({ one: [1, 2, 3, 4], two: [1, 2, 3, 4], three: [1, 2, 3, 4] });
    await forget();
    steps = {};
    holds = (name, step) => name === 'one' && step === 2;
    const run = await start('paused');
    await reached('one', 2);
    expect(await pause(run)).toMatchObject({ paused: true, stages: ['first'] });
    expect(stopped).toEqual(['one']);
    expect(await pending(run)).toEqual([]);
    const { pausedSince } = await run.query<RunProgress>(PROGRESS_QUERY);
    expect(new Date(pausedSince ?? '').getTime()).toBeGreaterThan(0);
    expect((await run.describe()).searchAttributes).toMatchObject({ NibbleState: ['paused'] });
    holds = () => false;
    expect(await resume(run)).toEqual({ paused: false, since: null, stages: ['first'] });
    expect(await run.result()).toEqual(undisturbed);
    expect(steps).toEqual({ one: [1, 2, 3, 4], two: [1, 2, 3, 4], three: [1, 2, 3, 4] });
    expect((await run.describe()).searchAttributes).toMatchObject({ NibbleState: ['running'] });
  });

  it('refuses to be paused twice and to be resumed when it runs', async () => {
    holds = (name) => name === 'one';
    const run = await start('refusing');
    await reached('one', 1);
    expect(await messageOf(resume(run))).toBe('the run is not paused');
    await pause(run);
    expect(await messageOf(pause(run))).toMatch(/^the run is paused already, since \d{4}-/);
    holds = () => false;
    await resume(run);
    await run.result();
  });

  it('stops all activities of a row, and can be paused again and again', async () => {
    holds = (name, step) => name !== 'one' && step === 1;
    const run = await start('parallel');
    await reached('three', 1);
    await reached('two', 1);
    expect((await pause(run)).stages).toEqual(['second']);
    expect([...stopped].sort()).toEqual(['three', 'two']);
    holds = (name, step) => name === 'two' && step === 3;
    await resume(run);
    await reached('two', 3);
    await pause(run);
    holds = () => false;
    await resume(run);
    expect(await run.result()).toEqual([STEPS, STEPS, STEPS]);
    expect(steps).toEqual({ one: [1, 2, 3, 4], two: [1, 2, 3, 4], three: [1, 2, 3, 4] });
  });

  it('waits out an activity whose worker does not answer any more, and runs it again', async () => {
    let hear: () => void = () => undefined;
    const silence = new Promise<void>((resolve) => {
      hear = resolve;
    });
    deaf.set('one', silence);
    const run = await start('deaf');
    await expect.poll(async () => (await pending(run))[0]?.attempt, { timeout: 20_000 }).toBe(1);
    expect(await pause(run)).toMatchObject({ paused: true });
    expect(await pending(run)).toEqual([]);
    deaf.clear();
    hear();
    await resume(run);
    expect(await run.result()).toEqual([STEPS, STEPS, STEPS]);
  });

  it('stays paused over a restart of the worker', async () => {
    holds = (name, step) => name === 'two' && step === 2;
    const run = await start('restarted');
    await reached('two', 2);
    await pause(run);
    await stopWorker();
    await startWorker();
    expect((await run.query<RunProgress>(PROGRESS_QUERY)).pausedSince).not.toBeNull();
    expect(await pending(run)).toEqual([]);
    holds = () => false;
    await resume(run);
    expect(await run.result()).toEqual([STEPS, STEPS, STEPS]);
    expect(steps.two).toEqual([1, 2, 3, 4]);
  });

  it('can be cancelled while it is paused', async () => {
    holds = (name) => name === 'one';
    const run = await start('cancelled');
    await reached('one', 1);
    await pause(run);
    await run.cancel();
    const end = await run.result().catch((error: unknown) => error);
    expect(runEndOf(end)).toEqual({ state: 'cancelled' });
  });

  it('computes again what it was asked to, and says why each row was run or reused', async () => {
    await (await start('whole')).result();
    const first = await server.client.workflow.getHandle('whole').query<RunDecisions>(DECISIONS_QUERY);
    expect(first.first).toMatchObject({ run: 1, reused: 0, examples: [{ outcome: 'first' }] });
    steps = {};
    const again = await start('again', { recompute: { stages: ['second'], request: 'again 1' } });
    expect(await again.result()).toEqual([STEPS, STEPS, STEPS]);
    expect(steps).toEqual({ two: [1, 2, 3, 4], three: [1, 2, 3, 4] });
    const decisions = await again.query<RunDecisions>(DECISIONS_QUERY);
    expect(decisions.first).toMatchObject({ run: 0, reused: 1, examples: [{ outcome: 'reused' }] });
    expect(decisions.second).toMatchObject({ run: 2, reused: 0, examples: [{ outcome: 'asked' }] });
  });

  it('is deterministic: histories of paused, interrupted and cancelled runs replay without a difference', async () => {
    for (const workflowId of ['paused', 'refusing', 'parallel', 'deaf', 'restarted', 'cancelled', 'again']) {
      const history = await server.client.workflow.getHandle(workflowId).fetchHistory();
      expect(history.events?.length).toBeGreaterThan(10);
      await Worker.runReplayHistory({ workflowBundle }, history, workflowId);
    }
  });
});

/** What a refused update says. */
async function messageOf(update: Promise<unknown>): Promise<string | undefined> {
  const error = await update.catch((caught: unknown) => caught);
  expect(error).toBeInstanceOf(WorkflowUpdateFailedError);
  return (error as WorkflowUpdateFailedError).cause?.message;
}
