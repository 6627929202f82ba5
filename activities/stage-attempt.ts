import { NibbleflowError } from '../contracts/errors.js';
import type { Stage } from '../contracts/stages.js';
import { CheckpointPace } from './checkpoint-pace.js';
import { LeasedEngine } from './leased-engine.js';
import type { RunLog } from './run-log.js';
import type { ActivityDeps, StageContext } from './stage-frame.js';
import type { StageHost } from './stage-host.js';
import { StageProgress } from './stage-progress.js';
import { StageStop } from './stage-stop.js';
import { Checkpoints } from './store/checkpoints.js';

/** Keep-alive and cancellation are carried by heartbeats; three fit in the heartbeat timeout. */
const KEEP_ALIVE_MS = 5_000;
/** Without any progress for this long a stage counts as stalled, unless it says otherwise. */
const PROGRESS_TIMEOUT_MS = 15 * 60_000;
/** How long a worker that ends waits for checkpoints, where nobody says otherwise. */
const SHUTDOWN_GRACE_MS = 25_000;
/** An aborted body has this long to clean up. */
const CLEAN_UP_MS = 2_000;

export interface AttemptFacts {
  readonly stage: Stage;
  /** Names the stage's result. */
  readonly key: string;
  readonly host: StageHost;
  readonly log: RunLog;
  readonly microBatchDivisor: number;
  readonly progressTimeoutMs?: number;
}

/** One attempt of a stage that computes: its heartbeats and checkpoints, and its end from outside. */
export class StageAttempt {
  private readonly progress: StageProgress;
  private readonly pace = new CheckpointPace(performance.now());
  private readonly stop: StageStop;
  private readonly checkpoints: Checkpoints;
  private readonly timeoutMs: number;
  private readonly engine: LeasedEngine;

  constructor(
    private readonly deps: ActivityDeps,
    private readonly facts: AttemptFacts,
  ) {
    this.progress = new StageProgress(facts.stage, performance.now());
    this.stop = new StageStop(facts.host, deps.shutdownGraceMs ?? SHUTDOWN_GRACE_MS);
    this.checkpoints = new Checkpoints(deps.store);
    this.timeoutMs = facts.progressTimeoutMs ?? PROGRESS_TIMEOUT_MS;
    this.engine = new LeasedEngine(deps, this.stop, facts, (note) => {
      this.progress.waiting(note, performance.now());
      this.heartbeat();
    });
  }

  /** Runs the body with heartbeats, stall detection and cancellation. Throws what it throws, or why it was stopped. */
  async run<Outcome>(body: (context: StageContext) => Promise<Outcome>): Promise<Outcome> {
    this.heartbeat();
    const keepAlive = setInterval(() => this.onKeepAlive(), Math.min(KEEP_ALIVE_MS, this.timeoutMs / 2));
    try {
      return await this.abortable(body(this.context()));
    } finally {
      clearInterval(keepAlive);
      this.stop.close();
    }
  }

  private context(): StageContext {
    const { deps, facts, stop } = this;
    const { key, log, microBatchDivisor } = facts;
    return {
      ...{ store: deps.store, signal: stop.signal, key, log, microBatchDivisor },
      progress: (update) => {
        this.progress.update(update, performance.now());
        this.heartbeat();
      },
      breathe: () => this.breathe(),
      checkpoint: {
        load: () => this.load(),
        offer: async (snapshot) => {
          stop.expectCheckpoint();
          await this.breathe();
          if (stop.isAsked || this.pace.isDue(performance.now())) await this.save(await snapshot());
        },
        save: (bytes) => this.save(bytes),
        expect: () => stop.expectCheckpoint(),
      },
      withEngine: (compute, work) => this.engine.use(compute, work),
    };
  }

  private async breathe(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
    this.stop.throwIfStopped();
  }

  private async load(): Promise<Uint8Array | undefined> {
    const { key, log } = this.facts;
    this.stop.expectCheckpoint();
    const bytes = await this.checkpoints.load(key, key);
    if (bytes !== undefined) log.info('checkpoint-resumed', 'goes on from a checkpoint', { bytes: bytes.byteLength });
    return bytes;
  }

  /** A stage that was asked to stop ends here: everything it did is in the checkpoint. */
  private async save(bytes: Uint8Array | readonly Uint8Array[]): Promise<void> {
    const { key, log } = this.facts;
    this.stop.signal.throwIfAborted();
    this.engine.assertHeld();
    const ref = await this.checkpoints.save(key, key, bytes);
    this.pace.saved(performance.now());
    this.progress.checkpointed(ref, performance.now());
    const { done, total, unit } = this.progress.snapshot();
    log.info('checkpoint-written', `${done} of ${total} ${unit}`, { done, total, unit, ...ref });
    this.heartbeat();
    if (this.stop.isAsked) throw this.stop.reason;
  }

  private heartbeat(): void {
    this.facts.host.heartbeat(this.progress.snapshot());
  }

  private onKeepAlive(): void {
    this.heartbeat();
    const isStalled = performance.now() - this.progress.lastChangeAt > this.timeoutMs;
    if (isStalled) this.stop.abort(stalled(this.facts.stage, this.timeoutMs));
  }

  /** The promise, or the abort reason as soon as the stage is aborted and the promise has had a moment to clean up. */
  private async abortable<T>(promise: Promise<T>): Promise<T> {
    const { signal } = this.stop;
    let timer: NodeJS.Timeout | undefined;
    const aborted = new Promise<never>((_, reject) => {
      const onAbort = (): void => {
        timer = setTimeout(() => reject(signal.reason), CLEAN_UP_MS);
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
}

function stalled(stage: Stage, timeoutMs: number): NibbleflowError {
  return new NibbleflowError('Stalled', `stage ${stage} made no progress for ${Math.round(timeoutMs / 1000)} s`, {
    fix: 'It is tried once more on a fresh engine. If it stalls again, see the worker log in the state folder.',
  });
}
