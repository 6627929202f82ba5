import { ApplicationFailure, CancelledFailure } from '@temporalio/activity';
import { z } from 'zod';
import { type FailureKind, NibbleflowError } from '../contracts/errors.js';
import type { EvaluationSpec } from '../contracts/evaluation-activities.js';
import type { FailurePolicies } from '../contracts/failure-policy.js';
import type { UnresolvedEvaluation } from '../contracts/night-activities.js';
import { decisionText, RECOMPUTE_FIELD } from '../contracts/stage-decision.js';
import type { Compute, Stage, StageOutcome } from '../contracts/stages.js';
import type { EngineExecutor } from './engine/engine-executor.js';
import type { EnginePool } from './engine-pool.js';
import { type RunLog, type RunLogs, SILENT_LOG } from './run-log.js';
import { StageFailures } from './stage-failures.js';
import { type StageHost, temporalHost } from './stage-host.js';
import { type ProgressUpdate, StageProgress } from './stage-progress.js';
import { Checkpoints } from './store/checkpoints.js';
import type { LocalStore } from './store/local-store.js';
import { StoredResult } from './stored-results.js';

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
  /** Default: nothing is logged. */
  readonly logs?: RunLogs;
  /** Looks at folders as they are now; given by the worker's process, which knows the settings. Nights need it. */
  readonly resolveEvaluation?: (request: UnresolvedEvaluation) => Promise<EvaluationSpec>;
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
  readonly log: RunLog;
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
  const { input, recompute } = parseInput(options, rawInput);
  const { stage, version } = options;
  const identity = {
    ...{ stage, version },
    key: { input: (await options.key?.(input, deps.store)) ?? input, facts: deps.facts },
  };
  const stored = new StoredResult<Result>(deps.store, identity, { run: host.run, recompute });
  const { key } = stored;
  const failures = new StageFailures(deps.store);
  const log = logOf(deps, options.stage, host);
  try {
    const found = await stored.find(async (result) => (await options.stillValid?.(input, result)) ?? true);
    if (found !== undefined) {
      log.info('stage-reused', found.summary, { key, workSeconds: found.workSeconds });
      return found;
    }
    const why = await stored.why();
    const startedAt = Date.now();
    const began = performance.now();
    log.info('stage-started', `${stage}: ${decisionText(why)}`, { key, startedAt });
    const outcome = await runBody(deps, options, { host, key, log }, (context) => body(input, context));
    const seconds = (performance.now() - began) / 1000;
    const endedAt = startedAt + Math.round(1000 * seconds);
    const result = { ...outcome, reused: false, seconds, workSeconds: seconds } as unknown as Result;
    guardPayload(stage, result);
    const kept = await stored.save(result, why);
    await new Checkpoints(deps.store).remove(key);
    await failures.clear(key);
    log.info('stage-finished', result.summary, { seconds, startedAt, endedAt });
    return kept;
  } catch (error) {
    throw await asFailure(deps, { host, key, log }, failures, error);
  }
}

function logOf(deps: ActivityDeps, stage: Stage, { owner }: StageHost): RunLog {
  return owner === undefined ? SILENT_LOG : (deps.logs?.open({ ...owner, stage }) ?? SILENT_LOG);
}

/** One attempt: who runs it, the name of its result, its log. */
interface Attempt {
  readonly host: StageHost;
  readonly key: string;
  readonly log: RunLog;
}

function parseInput<Schema extends z.ZodType>(
  options: { readonly stage: Stage; readonly input: Schema },
  rawInput: unknown,
): { input: z.output<Schema>; recompute: string | null } {
  const { [RECOMPUTE_FIELD]: recompute = null, ...given } = Object(rawInput) as Record<string, unknown>;
  const parsed = options.input.safeParse(given);
  if (parsed.success) return { input: parsed.data, recompute: recompute === null ? null : String(recompute) };
  const what = `the input of stage ${options.stage} is not valid:\n${z.prettifyError(parsed.error)}`;
  throw ApplicationFailure.nonRetryable(what, 'InvalidInput' satisfies FailureKind);
}

async function runBody<Outcome>(
  deps: ActivityDeps,
  options: { readonly stage: Stage; readonly progressTimeoutMs?: number },
  attempt: Attempt,
  body: (context: StageContext) => Promise<Outcome>,
): Promise<Outcome> {
  const { host } = attempt;
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
    const context = await stageContext(deps, attempt, progress, signal);
    return await abortable(body(context), signal);
  } finally {
    clearInterval(keepAlive);
  }
}

async function stageContext(
  deps: ActivityDeps,
  { host, key, log }: Attempt,
  progress: StageProgress,
  signal: AbortSignal,
): Promise<StageContext> {
  const checkpoints = new Checkpoints(deps.store);
  const { OutOfMemory = 0 } = await new StageFailures(deps.store).counts(key, host.run);
  const microBatchDivisor = 2 ** OutOfMemory;
  if (microBatchDivisor > 1)
    log.warn('micro-batch-halved', `micro-batches of 1/${microBatchDivisor}`, { microBatchDivisor });
  return {
    store: deps.store,
    signal,
    key,
    log,
    microBatchDivisor,
    progress: (update) => {
      progress.update(update, performance.now());
      host.heartbeat(progress.snapshot());
    },
    breathe: async () => {
      await new Promise((resolve) => setImmediate(resolve));
      signal.throwIfAborted();
    },
    checkpoint: {
      load: async () => {
        const bytes = await checkpoints.load(key, key);
        if (bytes !== undefined)
          log.info('checkpoint-resumed', 'goes on from a checkpoint', { bytes: bytes.byteLength });
        return bytes;
      },
      save: async (bytes) => {
        const ref = await checkpoints.save(key, key, bytes);
        progress.checkpointed(ref, performance.now());
        const { done, total, unit } = progress.snapshot();
        log.info('checkpoint-written', `${done} of ${total} ${unit}`, { done, total, unit, ...ref });
        host.heartbeat(progress.snapshot());
      },
    },
    withEngine: (compute, work) => deps.engines.use(compute, signal, work, log),
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
  { host, key, log }: Attempt,
  failures: StageFailures,
  error: unknown,
): Promise<unknown> {
  const stop = stopOf(host, error);
  if (stop !== undefined) {
    log.info('stage-stopped', stop instanceof Error ? stop.message : String(stop));
    return stop;
  }
  if (error instanceof ApplicationFailure) {
    log.error('stage-failed', error.message, { kind: error.type, retried: error.nonRetryable !== true });
    return error;
  }
  const kind: FailureKind = error instanceof NibbleflowError ? error.kind : 'Internal';
  if (deps.policies[kind].remedy === 'collect-garbage') await deps.store.collectGarbage();
  const count = await failures.add(key, host.run, kind);
  const { attempts, remedy } = deps.policies[kind];
  const message = error instanceof Error ? error.message : String(error);
  const nonRetryable = count >= attempts;
  const facts = { kind, failures: count, attempts, remedy, retried: !nonRetryable };
  log[nonRetryable ? 'error' : 'warn']('stage-failed', message, facts);
  const cause = error instanceof Error ? error : undefined;
  return ApplicationFailure.create({ message, type: kind, nonRetryable, cause });
}

/** Why the stage was stopped from outside; undefined when it failed by itself. */
function stopOf({ signal }: StageHost, error: unknown): unknown {
  if (error instanceof CancelledFailure) return error;
  if (error instanceof ApplicationFailure || !signal.aborted) return undefined;
  return signal.reason;
}

function stalled(stage: Stage, timeoutMs: number): NibbleflowError {
  return new NibbleflowError('Stalled', `stage ${stage} made no progress for ${Math.round(timeoutMs / 1000)} s`, {
    fix: 'It is tried once more on a fresh engine. If it stalls again, see the worker log in the state folder.',
  });
}
