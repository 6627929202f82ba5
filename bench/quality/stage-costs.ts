import type { LocalStore } from '../../activities/store/local-store.js';
import { StageCache, stageKey } from '../../activities/store/stage-cache.js';
import type { StageOutcome } from '../../contracts/stages.js';

/** What a stage cost when its work was done, maybe in an earlier run of the bench. */
export interface StageCost {
  readonly seconds: number;
  /** False when an earlier run that was interrupted spent some of the time. */
  readonly isComplete: boolean;
  /** Largest resident size of the engine until the stage's end; null where the system does not tell. */
  readonly engineBytes: number | null;
}

/** Of several stages together. */
export interface TotalCost {
  readonly seconds: number;
  /** False when another program than the bench did some of the work, or an interrupted run a part of it. */
  readonly isComplete: boolean;
  readonly engineBytes: number | null;
}

/** Costs in the store, because a result that is reused says 0 seconds. */
export class StageCosts {
  private readonly cache: StageCache;

  /** `context`: device, threads, versions: what makes the same work take another time. */
  constructor(
    store: LocalStore,
    private readonly context: unknown,
  ) {
    this.cache = new StageCache(store);
  }

  /** Keeps what a stage cost that did its work; gives what it cost then for one whose result was reused. */
  async of(stage: string, result: StageOutcome, now: Omit<StageCost, 'seconds'>): Promise<StageCost | null> {
    const { reused, seconds, ...made } = result;
    const key = stageKey({ stage: `bench cost of ${stage}`, version: 2, key: { made, context: this.context } });
    if (reused) return ((await this.cache.load(key)) as StageCost | undefined) ?? null;
    const cost = { seconds, ...now };
    await this.cache.save(key, cost);
    return cost;
  }
}

export function totalCost(costs: readonly (StageCost | null)[]): TotalCost {
  const known = costs.filter((cost) => cost !== null);
  const sizes = known.flatMap(({ engineBytes }) => (engineBytes === null ? [] : [engineBytes]));
  return {
    seconds: known.reduce((sum, { seconds }) => sum + seconds, 0),
    isComplete: known.length === costs.length && known.every((cost) => cost.isComplete),
    engineBytes: sizes.length === 0 ? null : Math.max(...sizes),
  };
}
