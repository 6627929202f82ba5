import type { Feeds, Resident, Runnable } from '../models/executor.js';
import type { Tensor } from '../models/tensors/tensor.js';

/**
 * A model that answers its first calls from what an earlier attempt recorded, and computes and records the rest. A walk that
 * calls it in the same order with the same feeds goes on where that attempt was stopped, bit for bit, whatever state its
 * sampler and its observers have: they see all of it again, at no cost.
 */
export class RecordedCalls implements Runnable {
  private answered = 0;
  /** Answers that are not written yet. */
  private fresh: Record<string, Tensor>[] = [];
  /** Number of the first of them. */
  private firstFresh: number;

  constructor(
    private readonly runnable: Runnable,
    /** What was recorded, oldest call first. */
    private readonly recorded: readonly Readonly<Record<string, Tensor>>[],
  ) {
    this.firstFresh = recorded.length;
  }

  get inputNames(): readonly string[] {
    return this.runnable.inputNames;
  }

  get outputNames(): readonly string[] {
    return this.runnable.outputNames;
  }

  async run(feeds: Feeds, outputs: readonly string[] = this.outputNames): Promise<Record<string, Tensor>> {
    const known = this.recorded[this.answered];
    this.answered += 1;
    if (known !== undefined) return { ...known };
    const answer = await this.runnable.run(feeds, outputs);
    this.fresh.push(answer);
    return answer;
  }

  /** Such calls are not recorded: their results stay in the engine. */
  runKeeping(
    feeds: Feeds,
    outputs: readonly string[],
    keep: readonly string[],
  ): Promise<{ outputs: Record<string, Tensor>; kept: Record<string, Resident> }> {
    return this.runnable.runKeeping(feeds, outputs, keep);
  }

  release(): Promise<void> {
    return this.runnable.release();
  }

  /** Calls that were answered from the record, or will be. */
  get recordedCalls(): number {
    return this.recorded.length;
  }

  /** The answers since the last time, and the number of the first of them. */
  takeFresh(): { first: number; answers: Record<string, Tensor>[] } {
    const first = this.firstFresh;
    const answers = this.fresh.splice(0);
    this.firstFresh += answers.length;
    return { first, answers };
  }
}
