import { ApplicationFailure, CancelledFailure, Context } from '@temporalio/activity';
import { z } from 'zod';
import { type FailureKind, NibbleflowError } from '../contracts/errors.js';
import type { FailurePolicies } from '../contracts/failure-policy.js';
import type { Compute, Stage, StageOutcome } from '../contracts/stages.js';
import type { EngineExecutor } from './engine/engine-executor.js';
import type { EnginePool } from './engine-pool.js';
import { StageFailures } from './stage-failures.js';
import { type ProgressUpdate, StageProgress } from './stage-progress.js';
import { Checkpoints } from './store/checkpoints.js';
import type { LocalStore } from './store/local-store.js';
import { StageCache, stageKey } from './store/stage-cache.js';

/** Results and failure details above this never leave an activity: the server would refuse 2 MiB for good. */
export const MAX_PAYLOAD_BYTES = 64 * 1024;
/** Keep-alive and cancellation are carried by heartbeats; three fit in the heartbeat timeout. */
const KEEP_ALIVE_MS = 5_000;
/** Without any progress for this long a stage counts as stalled, unless it says otherwise. */
const PROGRESS_TIMEOUT_MS = 15 * 60_000;

/** What every activity is made with. */
export interface ActivityDeps {
  readonly store: LocalStore;
  readonly engines: EnginePool;
  readonly policies: FailurePolicies;
  /** Facts of this machine that change numbers: versions, architecture. Part of the key of stages that compute. */
  readonly facts: Readonly<Record<string, string>>;
  /** Where the frame runs; default: the current Temporal activity. */
  readonly host?: () => StageHost;
}

/** What the frame needs from whoever runs it. */
export interface StageHost {
  /** Names one stage of one run, over all its attempts. */
  readonly run: string;
  readonly signal: AbortSignal;
  heartbeat(details: unknown): void;
}

export interface StageOptions<Schema extends z.ZodType, Result extends StageOutcome> {
  readonly stage: Stage;
  /** Raise it when the stage's code gives other numbers. */
  readonly version: number;
  readonly input: Schema;
  /**
   * What of the input decides the result; default: all of it. Leave out names, run ids, output paths, and what of an artifact the
   * stage does not read.
   */
  readonly key?: (input: z.output<Schema>, store: LocalStore) => unknown;
  /** A last check of a stored result, for stages with effects outside the store (an output folder). */
  readonly stillValid?: (input: z.output<Schema>, result: Result) => Promise<boolean>;
  readonly progressTimeoutMs?: number;
}

/** What a stage's body works with. */
export interface StageContext {
  readonly store: LocalStore;
  /** Aborted on cancellation, worker shutdown and stall. */
  readonly signal: AbortSignal;
  /** sha256 that names this stage's result; also the fingerprint of its checkpoints. */
  readonly key: string;
  /** Divide the micro-batch by this (1, 2, 4 …: one halving for each OutOfMemory of this stage so far). */
  readonly microBatchDivisor: number;
  progress(update: ProgressUpdate): void;
  /** Lets heartbeats, cancellation and other activities run; call it at least every second of synchronous work. */
  breathe(): Promise<void>;
  readonly checkpoint: {
    /** The last checkpoint of an unfinished attempt with the same inputs, parameters and stage version. */
    load(): Promise<Uint8Array | undefined>;
    save(bytes: Uint8Array | readonly Uint8Array[]): Promise<void>;
  };
  /** A warm engine for this stage alone; killed when the stage fails or is cancelled. */
  withEngine<T>(compute: Compute, work: (executor: EngineExecutor) => Promise<T>): Promise<T>;
}

/**
 * Runs one stage: parses the input, looks the result up by content, otherwise runs the body with heartbeats, checkpoints,
 * stall detection and cancellation, stores the result, and turns failures into typed ones by the policy table.
 */
export async function runStage<Schema extends z.ZodType, Result extends StageOutcome>(
  deps: ActivityDeps,
  options: StageOptions<Schema, Result>,
  rawInput: unknown,
  body: (input: z.output<Schema>, context: StageContext) => Promise<Omit<Result, 'reused' | 'seconds'>>,
): Promise<Result> {
  const host = deps.host?.() ?? temporalHost();
  const input = parseInput(options, rawInput);
  const key = stageKey({
    stage: options.stage,
    version: options.version,
    key: { input: (await options.key?.(input, deps.store)) ?? input, facts: deps.facts },
  });
  const failures = new StageFailures(deps.store);
  try {
    const cache = new StageCache(deps.store);
    const cached = (await cache.load(key)) as Result | undefined;
    if (cached !== undefined && (await (options.stillValid?.(input, cached) ?? true))) {
      return { ...cached, reused: true, seconds: 0, workSeconds: cached.seconds };
    }
    const startedAt = performance.now();
    const outcome = await runBody(deps, options, host, key, (context) => body(input, context));
    const seconds = (performance.now() - startedAt) / 1000;
    const result = { ...outcome, reused: false, seconds, workSeconds: seconds } as unknown as Result;
    guardPayload(options.stage, result);
    await cache.save(key, result);
    await new Checkpoints(deps.store).remove(key);
    await failures.clear(key);
    return result;
  } catch (error) {
    throw await asFailure(deps, host, failures, key, error);
  }
}

function parseInput<Schema extends z.ZodType>(
  options: { readonly stage: Stage; readonly input: Schema },
  rawInput: unknown,
): z.output<Schema> {
  const parsed = options.input.safeParse(rawInput);
  if (parsed.success) return parsed.data;
  const what = `the input of stage ${options.stage} is not valid:\n${z.prettifyError(parsed.error)}`;
  throw ApplicationFailure.nonRetryable(what, 'InvalidInput' satisfies FailureKind);
}

async function runBody<Outcome>(
  deps: ActivityDeps,
  options: { readonly stage: Stage; readonly progressTimeoutMs?: number },
  host: StageHost,
  key: string,
  body: (context: StageContext) => Promise<Outcome>,
): Promise<Outcome> {
  const progress = new StageProgress(options.stage, performance.now());
  const stall = new AbortController();
  const signal = AbortSignal.any([host.signal, stall.signal]);
  const timeoutMs = options.progressTimeoutMs ?? PROGRESS_TIMEOUT_MS;
  host.heartbeat(progress.snapshot());
  const keepAlive = setInterval(
    () => {
      host.heartbeat(progress.snapshot());
      if (performance.now() - progress.lastChangeAt > timeoutMs) stall.abort(stalled(options.stage, timeoutMs));
    },
    Math.min(KEEP_ALIVE_MS, timeoutMs / 2),
  );
  try {
    const context = await stageContext(deps, host, key, progress, signal);
    return await abortable(body(context), signal);
  } finally {
    clearInterval(keepAlive);
  }
}

async function stageContext(
  deps: ActivityDeps,
  host: StageHost,
  key: string,
  progress: StageProgress,
  signal: AbortSignal,
): Promise<StageContext> {
  const checkpoints = new Checkpoints(deps.store);
  const { OutOfMemory = 0 } = await new StageFailures(deps.store).counts(key, host.run);
  return {
    store: deps.store,
    signal,
    key,
    microBatchDivisor: 2 ** OutOfMemory,
    progress: (update) => {
      progress.update(update, performance.now());
      host.heartbeat(progress.snapshot());
    },
    breathe: async () => {
      await new Promise((resolve) => setImmediate(resolve));
      signal.throwIfAborted();
    },
    checkpoint: {
      load: () => checkpoints.load(key, key),
      save: async (bytes) => {
        progress.checkpointed(await checkpoints.save(key, key, bytes), performance.now());
        host.heartbeat(progress.snapshot());
      },
    },
    withEngine: (compute, work) => deps.engines.use(compute, signal, work),
  };
}

/** The promise, or the abort reason as soon as the signal is aborted and the promise has had a moment to clean up. */
async function abortable<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  const cleanUpMs = 2_000;
  let timer: NodeJS.Timeout | undefined;
  const aborted = new Promise<never>((_, reject) => {
    const onAbort = (): void => {
      timer = setTimeout(() => reject(signal.reason), cleanUpMs);
    };
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
  });
  try {
    return await Promise.race([promise, aborted]);
  } catch (error) {
    throw signal.aborted ? signal.reason : error;
  } finally {
    clearTimeout(timer);
  }
}

function guardPayload(stage: Stage, result: unknown): void {
  const bytes = Buffer.byteLength(JSON.stringify(result));
  if (bytes <= MAX_PAYLOAD_BYTES) return;
  throw ApplicationFailure.nonRetryable(
    `stage ${stage} returned ${bytes} bytes; results above ${MAX_PAYLOAD_BYTES} bytes belong in the store`,
    'Internal' satisfies FailureKind,
  );
}

async function asFailure(
  deps: ActivityDeps,
  host: StageHost,
  failures: StageFailures,
  key: string,
  error: unknown,
): Promise<unknown> {
  if (error instanceof CancelledFailure || error instanceof ApplicationFailure) return error;
  if (host.signal.aborted && host.signal.reason !== undefined) return host.signal.reason;
  const kind: FailureKind = error instanceof NibbleflowError ? error.kind : 'Internal';
  if (deps.policies[kind].remedy === 'collect-garbage') await deps.store.collectGarbage();
  const count = await failures.add(key, host.run, kind);
  return ApplicationFailure.create({
    message: error instanceof Error ? error.message : String(error),
    type: kind,
    nonRetryable: count >= deps.policies[kind].attempts,
    cause: error instanceof Error ? error : undefined,
  });
}

function stalled(stage: Stage, timeoutMs: number): NibbleflowError {
  return new NibbleflowError('Stalled', `stage ${stage} made no progress for ${Math.round(timeoutMs / 1000)} s`, {
    fix: 'It is tried once more on a fresh engine. If it stalls again, see the worker log in the state folder.',
  });
}

function temporalHost(): StageHost {
  const context = Context.current();
  const { workflowExecution, activityId } = context.info;
  return {
    run: `${workflowExecution?.runId ?? ''}/${activityId}`,
    signal: context.cancellationSignal,
    heartbeat: (details) => context.heartbeat(details),
  };
}
