/** A checkpoint is taken before this much work is at risk. */
export const CHECKPOINT_EVERY_MS = 5_000;

/** Says when the next checkpoint is due. Times come from the caller; they decide when to save, never what. */
export class CheckpointPace {
  constructor(
    private lastAt: number,
    private readonly everyMs = CHECKPOINT_EVERY_MS,
  ) {}

  /** True when the interval is over; the interval then starts again at `now`. */
  isDue(now: number): boolean {
    return now - this.lastAt >= this.everyMs;
  }

  /** Call it when a checkpoint has been written. */
  saved(now: number): void {
    this.lastAt = now;
  }
}
