import { ApplicationFailure } from '@temporalio/activity';
import { z } from 'zod';
import { type FailureKind, NibbleflowError } from '../contracts/errors.js';
import type { EvaluationSpec } from '../contracts/evaluation-activities.js';
import type { FailurePolicies } from '../contracts/failure-policy.js';
import type { UnresolvedEvaluation } from '../contracts/night-activities.js';
import { decisionText, RECOMPUTE_FIELD } from '../contracts/stage-decision.js';
import type { Compute, Stage, StageOutcome } from '../contracts/stages.js';
import type { EngineExecutor } from './engine/engine-executor.js';
import type { EnginePool } from './engine-pool.js';
import type { DeviceLeasing } from './leased-engine.js';
import { type RunLog, type RunLogs, SILENT_LOG } from './run-log.js';
import { StageAttempt } from './stage-attempt.js';
import { stageFailure } from './stage-failure.js';
import { StageFailures } from './stage-failures.js';
import { heartbeating, type StageHost, temporalHost } from './stage-host.js';
import type { ProgressUpdate } from './stage-progress.js';
import { Checkpoints } from './store/checkpoints.js';
import type { LocalStore } from './store/local-store.js';
import { type ResultRequest, StoredResult } from './stored-results.js';

/** Results and failure details above this never leave an activity: the server would refuse 2 MiB for good. */
export const MAX_PAYLOAD_BYTES = 64 * 1024;

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
  /** Devices that one stage at a time computes on; default: none. */
  readonly leasing?: DeviceLeasing;
  /** How long a stage may take to its next checkpoint when its worker ends. */
  readonly shutdownGraceMs?: number;
  /** Nothing but Temporal and the store may be reached; default: false. */
  readonly offline?: boolean;
  /** Deletes what nothing needs when a disk is full; default: only what is damaged or abandoned. */
  readonly freeSpace?: () => Promise<void>;
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

/** Chunks are written without joining them. */
export type CheckpointBytes = Uint8Array | readonly Uint8Array[];

/** What a stage's body works with. */
export interface StageContext {
  readonly store: LocalStore;
  /** Aborted when the stage has to end at once: stalled, or not at a checkpoint in time after it was asked to stop. */
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
    /**
     * Call it after every step: breathes, and saves what `snapshot` makes when a checkpoint is due. Rejects, with the
     * checkpoint written, when the stage was asked to stop.
     */
    offer(snapshot: () => CheckpointBytes | Promise<CheckpointBytes>): Promise<void>;
    /** Saves one now. Rejects, with the checkpoint written, when the stage was asked to stop. */
    save(bytes: CheckpointBytes): Promise<void>;
    /** Says that `offer` or `save` will follow, so that a stop waits for it; `load` and `offer` say so too. */
    expect(): void;
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
  const log = logOf(deps, options.stage, host);
  const { input, recompute } = parseInput(options, rawInput);
  let key: string | null = null;
  try {
    const stored = await storedResult<Schema, Result>(deps, options, input, { run: host.run, recompute });
    key = stored.key;
    const isValid = async (result: Result) => (await options.stillValid?.(input, result)) ?? true;
    const found = await heartbeating(host, () => stored.find(isValid));
    if (found === undefined)
      return await computed(deps, { options, host, log, stored }, (context) => body(input, context));
    log.info('stage-reused', found.summary, { key, workSeconds: found.workSeconds });
    return found;
  } catch (error) {
    throw await stageFailure(deps, { host, key, log }, error);
  }
}

async function storedResult<Schema extends z.ZodType, Result extends StageOutcome>(
  deps: ActivityDeps,
  { stage, version, key }: StageOptions<Schema, Result>,
  input: z.output<Schema>,
  request: ResultRequest,
): Promise<StoredResult<Result>> {
  const decisive = (await key?.(input, deps.store)) ?? input;
  return new StoredResult(deps.store, { stage, version, key: { input: decisive, facts: deps.facts } }, request);
}

interface Computing<Result extends StageOutcome> {
  readonly options: { readonly stage: Stage; readonly progressTimeoutMs?: number };
  readonly host: StageHost;
  readonly log: RunLog;
  readonly stored: StoredResult<Result>;
}

async function computed<Result extends StageOutcome>(
  deps: ActivityDeps,
  { options, host, log, stored }: Computing<Result>,
  body: (context: StageContext) => Promise<Omit<Result, 'reused' | 'seconds'>>,
): Promise<Result> {
  const { key } = stored;
  const failures = new StageFailures(deps.store);
  const why = await stored.why();
  const { OutOfMemory = 0, WorkerLost = 0 } = await failures.begin(key, host.run);
  if (WorkerLost >= deps.policies.WorkerLost.attempts) throw workerLost(options.stage, WorkerLost);
  const microBatchDivisor = 2 ** OutOfMemory;
  const startedAt = Date.now();
  const began = performance.now();
  log.info('stage-started', `${options.stage}: ${decisionText(why)}`, { key, startedAt });
  if (microBatchDivisor > 1)
    log.warn('micro-batch-halved', `micro-batches of 1/${microBatchDivisor}`, { microBatchDivisor });
  const outcome = await new StageAttempt(deps, { ...options, key, host, log, microBatchDivisor }).run(body);
  const seconds = (performance.now() - began) / 1000;
  const result = { ...outcome, reused: false, seconds, workSeconds: seconds } as unknown as Result;
  guardPayload(options.stage, result);
  const kept = await stored.save(result, why);
  await new Checkpoints(deps.store).remove(key);
  await failures.clear(key, host.run);
  const endedAt = startedAt + Math.round(1000 * seconds);
  log.info('stage-finished', result.summary, { seconds, startedAt, endedAt });
  return kept;
}

function logOf(deps: ActivityDeps, stage: Stage, { owner }: StageHost): RunLog {
  return owner === undefined ? SILENT_LOG : (deps.logs?.open({ ...owner, stage }) ?? SILENT_LOG);
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

function workerLost(stage: Stage, times: number): NibbleflowError {
  return new NibbleflowError('WorkerLost', `the worker process was lost ${times} times during stage ${stage}`, {
    fix: 'Look for the end of its log, and in the system log for the out-of-memory killer; then run the same command again.',
  });
}

function guardPayload(stage: Stage, result: unknown): void {
  const bytes = Buffer.byteLength(JSON.stringify(result));
  if (bytes <= MAX_PAYLOAD_BYTES) return;
  throw ApplicationFailure.nonRetryable(
    `stage ${stage} returned ${bytes} bytes; results above ${MAX_PAYLOAD_BYTES} bytes belong in the store`,
    'Internal' satisfies FailureKind,
  );
}
