import type { ArtifactKind, ArtifactRef } from '../../contracts/artifact.js';
import { mapConcurrently } from '../images/map-concurrently.js';
import { type Bucket, collect } from './bucket.js';
import { refsIn } from './stage-cache.js';
import type { StoredRecord, StoreInventory } from './store-inventory.js';
import { objectKey } from './store-keys.js';

/**
 * The one rule of what a store keeps. Live is
 *   – everything younger than a day: whatever runs now may need it and nobody knows of it yet;
 *   – what running runs name in their histories;
 *   – what the last runs, runs that were asked for, and pinned ones name, but for what is made on the way to a result and is
 *     large (block data of reconstruction);
 *   – what results name that were made or used in the last `keepDays` days (block data: three days at most);
 *   – what is named by anything of this that lists others, and by the checkpoints of unfinished stages, which stay for
 *     `keepDays` days, and as long as a run goes on that may have written them: a paused one writes no more.
 * A result of which anything is not live is not live. Records of nights, pins and scores in them are never collected.
 */

const DAY_MS = 24 * 3600 * 1000;
/** Nothing younger is collected. Artifacts say at least every quarter of it that they are used again. */
export const GRACE_MS = DAY_MS;
/** Made on the way to a result, and larger than all the rest. */
const PASSING_KINDS: ReadonlySet<ArtifactKind> = new Set(['block-data']);
const PASSING_DAYS = 3;
/** Artifacts that name others. */
const LISTS: ReadonlySet<ArtifactKind> = new Set(['pipeline', 'feature-set', 'shards']);
const READERS = 16;

export interface LiveRoots {
  /** All of it is kept. */
  readonly running: readonly ArtifactRef[];
  /** When the oldest of the running runs was started, milliseconds since 1970; Infinity when none runs. */
  readonly runningSince: number;
  /** Kept but for what is only on the way to a result. */
  readonly finished: readonly ArtifactRef[];
}

export interface KeepRule {
  readonly keepDays: number;
  /** Milliseconds since 1970. */
  readonly now: number;
}

/** Tells live from dead. */
export class Liveness {
  private readonly live = new Set<string>();
  /** What is known of an object's kind, by who names it. */
  readonly kinds = new Map<string, ArtifactKind>();

  private constructor(
    private readonly bucket: Bucket,
    private readonly inventory: StoreInventory,
    private readonly rule: KeepRule,
    private readonly runningSince: number,
  ) {}

  static async mark(bucket: Bucket, inventory: StoreInventory, roots: LiveRoots, rule: KeepRule): Promise<Liveness> {
    const found = new Liveness(bucket, inventory, rule, roots.runningSince);
    const { results, checkpoints } = inventory;
    for (const { refs } of results) for (const { digest, kind } of refs) found.kinds.set(digest, kind);
    const named = (records: readonly StoredRecord[]): ArtifactRef[] => records.flatMap(({ refs }) => refs);
    const young = (days: number): ArtifactRef[] =>
      named(results.filter(({ modifiedAt }) => found.age(modifiedAt) < Math.max(GRACE_MS, days * DAY_MS)));
    const unfinished = named(checkpoints.filter((checkpoint) => found.isLiveCheckpoint(checkpoint)));
    const isPassing = ({ kind }: ArtifactRef): boolean => PASSING_KINDS.has(kind);
    const passing = young(Math.min(PASSING_DAYS, rule.keepDays)).filter(isPassing);
    await found.reach([...roots.running, ...unfinished, ...passing]);
    const kept = [...roots.finished, ...young(rule.keepDays)];
    await found.reach(kept.filter((ref) => !isPassing(ref)));
    return found;
  }

  isLiveObject(digest: string): boolean {
    const found = this.inventory.objects.get(digest);
    return this.live.has(digest) || (found !== undefined && this.isFresh(found.usedAt));
  }

  isLiveResult({ modifiedAt, refs }: StoredRecord): boolean {
    if (this.isFresh(modifiedAt)) return true;
    if (refs.length === 0) return this.isYoung(modifiedAt);
    return refs.every(({ digest }) => this.inventory.objects.has(digest) && this.isLiveObject(digest));
  }

  /** Also of counts of failures: nothing names either. */
  isLiveCheckpoint({ modifiedAt }: { readonly modifiedAt: number }): boolean {
    return this.isYoung(modifiedAt) || modifiedAt >= this.runningSince;
  }

  private isYoung(modifiedAt: number): boolean {
    return this.age(modifiedAt) < Math.max(GRACE_MS, this.rule.keepDays * DAY_MS);
  }

  isFresh(modifiedAt: number): boolean {
    return this.age(modifiedAt) < GRACE_MS;
  }

  private age(at: number): number {
    return this.rule.now - at;
  }

  /** Marks artifacts and what they name. */
  private async reach(refs: readonly ArtifactRef[]): Promise<void> {
    let next = refs;
    while (next.length > 0) {
      const fresh = [...new Map(next.map((ref) => [ref.digest, ref])).values()].filter(
        ({ digest }) => !this.live.has(digest),
      );
      for (const { digest, kind } of fresh) {
        this.live.add(digest);
        this.kinds.set(digest, kind);
      }
      const lists = fresh.filter(({ digest, kind }) => LISTS.has(kind) && this.inventory.objects.has(digest));
      next = (await mapConcurrently(lists, READERS, (ref) => this.named(ref))).flat();
    }
  }

  /** A list that is damaged names nothing. */
  private async named({ digest }: ArtifactRef): Promise<ArtifactRef[]> {
    const chunks = await this.bucket.read(objectKey(digest));
    if (chunks === null) return [];
    try {
      return refsIn(JSON.parse(new TextDecoder().decode(await collect(chunks))));
    } catch (error) {
      if (error instanceof SyntaxError) return [];
      throw error;
    }
  }
}
