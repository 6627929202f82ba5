import type { LocalStore } from '../../activities/store/local-store.js';
import { StageCache, stageKey } from '../../activities/store/stage-cache.js';
import type { StageOutcome } from '../../contracts/stages.js';

/** What work cost when it was done, maybe in an earlier run of the bench. */
export interface Cost {
  readonly seconds: number;
  /** False when another program than the bench did some of the work, or an interrupted run a part of it. */
  readonly isComplete: boolean;
  /** Largest resident size of the engine until the work's end; null where the system does not tell. */
  readonly engineBytes: number | null;
}

/** Costs of activities in the store, because a result that is reused says 0 seconds. */
export class ActivityCosts {
  private readonly cache: StageCache;

  /** `context`: device, threads, versions: what makes the same work take another time. */
  constructor(
    store: LocalStore,
    private readonly context: unknown,
  ) {
    this.cache = new StageCache(store);
  }

  /** Keeps what an activity cost that did its work; gives what it cost then for one whose result was reused. */
  async of(activity: string, result: StageOutcome, now: Omit<Cost, 'seconds'>): Promise<Cost> {
    const { reused, seconds, ...made } = result;
    const key = stageKey({ stage: `bench cost of ${activity}`, version: 3, key: { made, context: this.context } });
    if (reused) return ((await this.cache.load(key)) as Cost | undefined) ?? UNKNOWN;
    const cost = { seconds, ...now };
    await this.cache.save(key, cost);
    return cost;
  }
}

/** Of work that another program did. */
const UNKNOWN: Cost = { seconds: 0, isComplete: false, engineBytes: null };

export function totalCost(costs: readonly Cost[]): Cost {
  const sizes = costs.flatMap(({ engineBytes }) => (engineBytes === null ? [] : [engineBytes]));
  return {
    seconds: costs.reduce((sum, { seconds }) => sum + seconds, 0),
    isComplete: costs.every(({ isComplete }) => isComplete),
    engineBytes: sizes.length === 0 ? null : Math.max(...sizes),
  };
}
