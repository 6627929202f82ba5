import type { StageHost } from './stage-host.js';

/** How long a stage that was cancelled or paused may take to reach its next checkpoint. */
const CANCEL_GRACE_MS = 10_000;

/**
 * Ends a stage from outside, in two steps. First it is only asked to stop: a stage that keeps checkpoints goes on to the next
 * one, which is then due, and ends there with nothing lost. What has not come to an end within the grace time is aborted. A
 * stage that has nothing to save is aborted at once, and so is one whose attempt counts as dead on the server.
 */
export class StageStop {
  private readonly aborting = new AbortController();
  private timer: NodeJS.Timeout | undefined;
  private savesCheckpoints = false;

  constructor(
    private readonly host: StageHost,
    private readonly shutdownGraceMs: number,
  ) {
    if (host.signal.aborted) this.onAsked();
    else host.signal.addEventListener('abort', this.onAsked, { once: true });
  }

  /** Aborted when the stage has to end now. */
  get signal(): AbortSignal {
    return this.aborting.signal;
  }

  /** Aborted as soon as the stage is asked to stop: for waits, which lose nothing. */
  get askedSignal(): AbortSignal {
    return AbortSignal.any([this.host.signal, this.signal]);
  }

  /** True from when the stage was asked to stop. */
  get isAsked(): boolean {
    return this.host.signal.aborted || this.signal.aborted;
  }

  /** Why: what the stage's promise rejects with. */
  get reason(): unknown {
    return this.signal.aborted ? this.signal.reason : this.host.signal.reason;
  }

  /** Says that this stage keeps checkpoints: when it is asked to stop there is something worth a short wait. */
  expectCheckpoint(): void {
    this.savesCheckpoints = true;
  }

  /** For work that can end anywhere: throws the reason when the stage has to stop and will not save more. */
  throwIfStopped(): void {
    if (this.isAsked && !this.savesCheckpoints) throw this.reason;
    this.signal.throwIfAborted();
  }

  /** Ends the stage now. */
  abort(reason: unknown): void {
    this.aborting.abort(reason);
  }

  /** Call it when the stage has ended. */
  close(): void {
    clearTimeout(this.timer);
    this.host.signal.removeEventListener('abort', this.onAsked);
  }

  private readonly onAsked = (): void => {
    const grace = this.savesCheckpoints ? this.graceMs() : 0;
    if (grace === 0) this.abort(this.host.signal.reason);
    else this.timer = setTimeout(() => this.abort(this.host.signal.reason), grace);
  };

  private graceMs(): number {
    const why = this.host.stopKind?.() ?? 'cancelled';
    return { shutdown: this.shutdownGraceMs, cancelled: Math.min(CANCEL_GRACE_MS, this.shutdownGraceMs), lost: 0 }[why];
  }
}
