import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ApplicationFailure } from '@temporalio/activity';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { EnginePool } from '../../activities/engine-pool.js';
import { type ActivityDeps, runStage, type StageContext } from '../../activities/stage-frame.js';
import type { StopKind } from '../../activities/stage-host.js';
import { LocalStore } from '../../activities/store/local-store.js';
import type { StageOutcome } from '../../contracts/stages.js';
import { FAILURE_POLICIES } from '../../workflows/policies.js';

let folder: string;
let store: LocalStore;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'nibbleflow-stop-'));
  store = await LocalStore.open(folder);
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** Stages end by themselves long before; a test that needs this has found a hang. */
const GRACE_MS = 60_000;
const SHORT_GRACE_MS = 100;

interface Stopped {
  readonly kind: StopKind;
  readonly graceMs: number;
}

class Run {
  readonly abort = new AbortController();
  constructor(private readonly stop: Stopped) {}

  stage(body: (context: StageContext) => Promise<{ summary: string }>): Promise<StageOutcome> {
    const deps: ActivityDeps = {
      ...{
        store,
        engines: new EnginePool(),
        policies: FAILURE_POLICIES,
        facts: {},
        shutdownGraceMs: this.stop.graceMs,
      },
      host: () => ({
        run: 'r',
        signal: this.abort.signal,
        stopKind: () => this.stop.kind,
        heartbeat: () => undefined,
      }),
    };
    return runStage(deps, { stage: 'round', version: 1, input: z.strictObject({}) }, {}, (_, context) => body(context));
  }
}

const REASON = new Error('asked to stop');
const STEPS = 20;

/** Counts to STEPS from its checkpoint; `onStep` sees every step before it is offered. */
function counting(steps: number[], onStep: (step: number) => void | Promise<void>) {
  return async (context: StageContext) => {
    const saved = await context.checkpoint.load();
    for (let step = (saved?.[0] ?? 0) + 1; step <= STEPS; step += 1) {
      steps.push(step);
      await onStep(step);
      await context.checkpoint.offer(() => Uint8Array.of(step));
    }
    return { summary: 'counted' };
  };
}

describe('a stage that is asked to stop', () => {
  it('because its worker ends, saves the step that it does, is Preempted and not counted, and goes on from there', async () => {
    const first = new Run({ kind: 'shutdown', graceMs: GRACE_MS });
    const steps: number[] = [];
    const stopping = first.stage(counting(steps, (step) => (step === 7 ? first.abort.abort(REASON) : undefined)));
    const failure = await stopping.catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(ApplicationFailure);
    expect(failure).toMatchObject({ type: 'Preempted', nonRetryable: false });
    await new Run({ kind: 'shutdown', graceMs: GRACE_MS }).stage(counting(steps, () => undefined));
    expect(steps).toEqual(Array.from({ length: STEPS }, (_, i) => i + 1));
  });

  it('because it was cancelled or paused, saves as well, and ends as cancelled', async () => {
    const run = new Run({ kind: 'cancelled', graceMs: GRACE_MS });
    const steps: number[] = [];
    const stopping = run.stage(counting(steps, (step) => (step === 7 ? run.abort.abort(REASON) : undefined)));
    await expect(stopping).rejects.toBe(REASON);
    await new Run({ kind: 'cancelled', graceMs: GRACE_MS }).stage(counting(steps, () => undefined));
    expect(steps).toEqual(Array.from({ length: STEPS }, (_, i) => i + 1));
  });

  it('but does not come to a checkpoint within the grace time, is aborted', async () => {
    const run = new Run({ kind: 'shutdown', graceMs: SHORT_GRACE_MS });
    let aborted = false;
    const stopping = run.stage(async (context) => {
      await context.checkpoint.load();
      run.abort.abort(REASON);
      await sleep(GRACE_MS, undefined, { signal: context.signal }).catch(() => {
        aborted = true;
        throw new Error('the engine was killed');
      });
      return { summary: '' };
    });
    await expect(stopping).rejects.toMatchObject({ type: 'Preempted' });
    expect(aborted).toBe(true);
  });

  it('and keeps no checkpoints, is aborted at once', async () => {
    const run = new Run({ kind: 'shutdown', graceMs: GRACE_MS });
    const stopping = run.stage(async (context) => {
      run.abort.abort(REASON);
      expect(context.signal.aborted).toBe(true);
      await context.breathe();
      return { summary: '' };
    });
    await expect(stopping).rejects.toMatchObject({ type: 'Preempted' });
  });

  it('because the server has given the attempt to another worker, writes nothing more', async () => {
    const run = new Run({ kind: 'lost', graceMs: GRACE_MS });
    const steps: number[] = [];
    const stopping = run.stage(counting(steps, (step) => (step === 7 ? run.abort.abort(REASON) : undefined)));
    await expect(stopping).rejects.toBe(REASON);
    await new Run({ kind: 'lost', graceMs: GRACE_MS }).stage(counting(steps, () => undefined));
    expect(steps.slice(7)).toEqual(Array.from({ length: STEPS }, (_, i) => i + 1));
  });

  it('may come to its end instead', async () => {
    const run = new Run({ kind: 'shutdown', graceMs: GRACE_MS });
    const ending = run.stage(async (context) => {
      await context.checkpoint.load();
      run.abort.abort(REASON);
      return { summary: 'done all the same' };
    });
    expect(await ending).toMatchObject({ summary: 'done all the same' });
  });
});

describe('a stage whose worker is lost', () => {
  it('is tried again 20 times, however often it was stopped in between, and then fails for good', async () => {
    const dying = async (): Promise<unknown> => {
      const run = new Run({ kind: 'cancelled', graceMs: GRACE_MS });
      let arrive: () => void = () => undefined;
      const reached = new Promise<void>((resolve) => {
        arrive = resolve;
      });
      void run.stage(async () => {
        arrive();
        return new Promise(() => undefined);
      });
      return reached;
    };
    const { attempts } = FAILURE_POLICIES.WorkerLost;
    await dying();
    for (let lost = 1; lost < attempts; lost += 1) {
      const preempted = new Run({ kind: 'shutdown', graceMs: GRACE_MS });
      const stopping = preempted.stage(async (context) => {
        preempted.abort.abort(REASON);
        await context.breathe();
        return { summary: '' };
      });
      await expect(stopping).rejects.toMatchObject({ type: 'Preempted' });
      await dying();
    }
    const failure = await new Run({ kind: 'cancelled', graceMs: GRACE_MS })
      .stage(async () => ({ summary: 'never' }))
      .catch((error: unknown) => error);
    expect(failure).toMatchObject({ type: 'WorkerLost', nonRetryable: true });
  });
});
