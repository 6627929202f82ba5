import { createHash } from 'node:crypto';
import type { StageDecision } from '../contracts/stage-decision.js';
import type { StageOutcome } from '../contracts/stages.js';
import type { LocalStore } from './store/local-store.js';
import { refsIn, StageCache, type StageIdentity, stageKey } from './store/stage-cache.js';
import { decision, StageIdentities } from './store/stage-identities.js';

/** Who asks for a result: the run, and the retry that wants it computed again (null: a stored one will do). */
export interface ResultRequest {
  readonly run: string;
  readonly recompute: string | null;
}

/**
 * The stored result of one stage with one identity. A retry that asks for it again finds only what it made itself: a result
 * that is there already stays for all others until the new one takes its place.
 */
export class StoredResult<Result extends StageOutcome> {
  /** Names checkpoints and counted failures: those of a retry that computes again are its own. */
  readonly key: string;
  private readonly resultKey: string;
  private readonly cache: StageCache;
  private readonly identities: StageIdentities;

  constructor(
    store: LocalStore,
    private readonly identity: StageIdentity,
    private readonly request: ResultRequest,
  ) {
    const { recompute } = request;
    this.resultKey = stageKey(identity);
    this.key =
      recompute === null ? this.resultKey : createHash('sha256').update(`${this.resultKey}/${recompute}`).digest('hex');
    this.cache = new StageCache(store);
    this.identities = new StageIdentities(store);
  }

  /** The result, when it may be used; `isValid` looks at its effects outside the store. */
  async find(isValid: (result: Result) => Promise<boolean>): Promise<Result | undefined> {
    const { identity, resultKey, request } = this;
    const isAsked = request.recompute !== null;
    if (isAsked) {
      const made = await this.identities.load(identity.stage, resultKey);
      if (made?.recompute !== request.recompute) return undefined;
    }
    const stored = await this.load();
    if (stored === undefined || !(await isValid(stored))) return undefined;
    const decision = await this.identities.reused(resultKey, identity);
    const seconds = isAsked ? stored.seconds : 0;
    return { ...stored, reused: !isAsked, seconds, workSeconds: stored.seconds, decision };
  }

  /** Why it must be computed: to be asked when it was not found. */
  async why(): Promise<StageDecision> {
    const { identity, resultKey, request } = this;
    if (request.recompute === null) return this.identities.missing(resultKey, identity, request.run);
    const stored = await this.identities.reused(resultKey, identity);
    return decision(resultKey, 'asked', stored.since);
  }

  /** Keeps a result; says whether one that was asked for again names the same bytes as the one before it. */
  async save(result: Result, why: StageDecision): Promise<Result> {
    const before = why.outcome === 'asked' ? await this.load() : undefined;
    const equal = before === undefined ? null : digests(before) === digests(result);
    await this.cache.save(this.resultKey, result);
    await this.identities.save(this.resultKey, this.identity, this.request);
    return { ...result, decision: { ...why, equal } };
  }

  private async load(): Promise<Result | undefined> {
    return (await this.cache.load(this.resultKey)) as Result | undefined;
  }
}

function digests(result: StageOutcome): string {
  return refsIn(result)
    .map(({ digest }) => digest)
    .join(' ');
}
