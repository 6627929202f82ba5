import type { ArtifactRef } from '../contracts/artifact.js';
import type { Progress, Stage } from '../contracts/stages.js';

/** Rates are over this much time, so that an estimate follows a change of speed. */
const RATE_WINDOW_MS = 30_000;

export interface ProgressUpdate {
  readonly done: number;
  readonly total: number;
  readonly unit: string;
  readonly note?: string;
  /** Told once, by an attempt that goes on from a checkpoint. */
  readonly resumedAt?: number;
}

/** Keeps the latest progress of a stage, with its rate and remaining time. Times are given in milliseconds. */
export class StageProgress {
  private readonly samples: { at: number; done: number }[] = [];
  private latest: ProgressUpdate = { done: 0, total: 0, unit: '' };
  private resumedAt: number | null = null;
  private checkpoint: ArtifactRef | null = null;
  /** When `done`, `note` or the checkpoint last changed. */
  lastChangeAt: number;

  constructor(
    private readonly stage: Stage,
    startedAt: number,
  ) {
    this.lastChangeAt = startedAt;
  }

  update(update: ProgressUpdate, now: number): void {
    if (update.done !== this.latest.done || update.note !== this.latest.note) this.lastChangeAt = now;
    if (update.total !== this.latest.total || update.unit !== this.latest.unit) this.samples.length = 0;
    this.latest = update;
    this.resumedAt = update.resumedAt ?? this.resumedAt;
    this.samples.push({ at: now, done: update.done });
    while (this.samples.length > 2 && (this.samples[0]?.at ?? now) < now - RATE_WINDOW_MS) this.samples.shift();
  }

  /** A stage that waits for others is not stalled. */
  waiting(note: string, now: number): void {
    this.latest = { ...this.latest, note };
    this.lastChangeAt = now;
  }

  checkpointed(ref: ArtifactRef, now: number): void {
    this.checkpoint = ref;
    this.lastChangeAt = now;
  }

  /** What heartbeats carry: far below 4 KB. */
  snapshot(): Progress {
    const { done, total, unit, note } = this.latest;
    const rate = this.rate();
    const etaSeconds = rate === null || total <= 0 ? null : Math.max(0, (total - done) / rate);
    return {
      stage: this.stage,
      done,
      total,
      unit,
      rate,
      etaSeconds,
      note: (note ?? '').slice(0, 200),
      resumedAt: this.resumedAt,
      checkpoint: this.checkpoint,
    };
  }

  private rate(): number | null {
    const first = this.samples[0];
    const last = this.samples.at(-1);
    if (first === undefined || last === undefined || last.at === first.at || last.done <= first.done) return null;
    return ((last.done - first.done) * 1000) / (last.at - first.at);
  }
}
