import { z } from 'zod';
import { artifactRefSchema } from '../../contracts/artifact.js';
import { canonicalJson } from '../../contracts/canonical-json.js';
import type { DecisionOutcome, KeyDifference, StageDecision } from '../../contracts/stage-decision.js';
import { type BucketEntry, collect } from './bucket.js';
import type { LocalStore } from './local-store.js';
import type { StageIdentity } from './stage-cache.js';
import { identityKey, resultKey } from './store-keys.js';

/** So many of a stage's newest results are compared with a new key. */
const COMPARED = 64;
/** So many differences are told; their values are cut to this length. */
const TOLD = 4;
const VALUE_LENGTH = 60;

const identitySchema = z.object({
  schemaVersion: z.literal(1),
  madeAt: z.iso.datetime(),
  /** The run that made it. */
  run: z.string(),
  /** The retry that asked for it; null when nobody did. */
  recompute: z.string().nullable(),
  identity: z.object({ stage: z.string(), version: z.number(), key: z.unknown() }),
});
export type StoredIdentity = z.output<typeof identitySchema>;

/**
 * What stored results were made of, beside the results: `identities/<stage>/<key>.json`. They explain why a stage is not
 * reused; a store without them works.
 */
export class StageIdentities {
  constructor(private readonly store: LocalStore) {}

  /** Keeps the identity of a result (atomic). */
  async save(key: string, identity: StageIdentity, made: { run: string; recompute: string | null }): Promise<void> {
    const record = { schemaVersion: 1, madeAt: new Date().toISOString(), ...made, identity };
    const text = new TextEncoder().encode(`${canonicalJson(record)}\n`);
    await this.store.records.put(identityKey(identity.stage, key), [text]);
  }

  /** What a stored result was made of; undefined when that is not known. */
  async load(stage: string, key: string): Promise<StoredIdentity | undefined> {
    const chunks = await this.store.records.read(identityKey(stage, key));
    if (chunks === null) return undefined;
    return identitySchema.safeParse(jsonOf(new TextDecoder().decode(await collect(chunks)))).data;
  }

  /** Why a result with this key was taken from the store. */
  async reused(key: string, identity: StageIdentity): Promise<StageDecision> {
    const since = (await this.load(identity.stage, key))?.madeAt ?? (await this.storedAt(key));
    return decision(key, 'reused', since);
  }

  /** Why the store has none, by the nearest result of the stage that another run made. */
  async missing(key: string, identity: StageIdentity, run: string): Promise<StageDecision> {
    const lost = await this.storedAt(key);
    if (lost !== null) return decision(key, 'lost', lost);
    let nearest: { since: string; differences: KeyDifference[] } | undefined;
    for (const { madeAt, identity: other, run: maker } of await this.newest(identity.stage)) {
      if (maker === run) continue;
      const differences = keyDifferences(other, identity);
      if (nearest === undefined || differences.length < nearest.differences.length)
        nearest = { since: madeAt, differences };
    }
    if (nearest === undefined) return decision(key, 'first', null);
    const { since, differences } = nearest;
    const moreDifferences = Math.max(0, differences.length - TOLD);
    return { ...decision(key, 'changed', since), differences: differences.slice(0, TOLD), moreDifferences };
  }

  /** Newest first; of results that are stored. */
  private async newest(stage: string): Promise<StoredIdentity[]> {
    const entries: BucketEntry[] = [];
    for await (const entry of this.store.records.list(`identities/${stage}/`)) entries.push(entry);
    entries.sort((a, b) => b.modifiedAt - a.modifiedAt);
    const keys = entries.slice(0, COMPARED).map((entry) => (entry.key.split('/').at(-1) ?? '').replace(/\.json$/, ''));
    const found = await Promise.all(
      keys.map(async (key) => ((await this.storedAt(key)) === null ? undefined : this.load(stage, key))),
    );
    return found.filter((one) => one !== undefined);
  }

  /** When a result was stored, ISO 8601; null when there is none. */
  private async storedAt(key: string): Promise<string | null> {
    const entry = await this.store.records.head(resultKey(key));
    return entry && new Date(entry.modifiedAt).toISOString();
  }
}

/** A decision without differences. */
export function decision(key: string, outcome: DecisionOutcome, since: string | null): StageDecision {
  return { key, outcome, since, differences: [], moreDifferences: 0, equal: null };
}

/** Members that differ between the identities of two results of a stage, in the order of their paths. */
export function keyDifferences(was: StageIdentity, is: StageIdentity): KeyDifference[] {
  const before = new Map(leavesOf(was));
  const after = new Map(leavesOf(is));
  const paths = [...new Set([...before.keys(), ...after.keys()])].sort();
  return paths.flatMap((path) => {
    const [one = 'absent', other = 'absent'] = [before.get(path), after.get(path)];
    return one === other ? [] : [{ path, was: cut(one), is: cut(other) }];
  });
}

function leavesOf({ version, key }: StageIdentity): [string, string][] {
  return [['stage version', String(version)], ...leaves(key, '')];
}

/** Artifacts and lists are leaves; `input.` is what most paths begin with and says nothing. */
function leaves(value: unknown, path: string): [string, string][] {
  const name = path.replace(/^input\./, '');
  const ref = artifactRefSchema.safeParse(value);
  if (ref.success) return [[name, `${ref.data.kind} ${ref.data.digest.slice(0, 12)}`]];
  if (value === null || typeof value !== 'object' || Array.isArray(value))
    return [[name, canonicalJson(value ?? null)]];
  return Object.entries(value)
    .filter(([, member]) => member !== undefined)
    .flatMap(([member, inner]) => leaves(inner, path === '' ? member : `${path}.${member}`));
}

function cut(text: string): string {
  return text.length <= VALUE_LENGTH ? text : `${text.slice(0, VALUE_LENGTH - 1)}…`;
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
