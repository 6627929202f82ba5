import type { ArtifactRef } from '../../contracts/artifact.js';
import { NibbleflowError } from '../../contracts/errors.js';
import { type FeatureSetManifest, featureSetManifestSchema } from '../../contracts/feature-set-manifest.js';
import { canonicalOrder, type FeatureSet } from '../../evaluation/features/feature-set.js';
import type { LocalStore } from '../store/local-store.js';
import { StoredChunks } from './stored-chunks.js';

/**
 * Opens a stored set of features. What is held in memory is a key and eight bytes for each picture; rows are read from the
 * chunks' files when a metric asks for them. Throws MissingArtifact when a chunk is gone.
 */
export async function openFeatureSet(store: LocalStore, ref: ArtifactRef): Promise<FeatureSet> {
  return featureSetOf(store, await loadManifest(store, ref));
}

/**
 * The union of sets, e.g. of shards, in which pictures keep their counts. Throws InvalidInput when the sets were not made
 * by the same extractor in the same way.
 */
export async function mergeFeatureSets(store: LocalStore, refs: readonly ArtifactRef[]): Promise<ArtifactRef> {
  const manifests: FeatureSetManifest[] = [];
  for (const ref of refs) manifests.push(await loadManifest(store, ref));
  const [first] = manifests;
  if (first === undefined) throw new RangeError('no sets of features to merge');
  const made = ({ extractor, resize, widths }: FeatureSetManifest) => JSON.stringify([extractor, resize, widths]);
  if (manifests.some((manifest) => made(manifest) !== made(first))) {
    throw new NibbleflowError('InvalidInput', 'sets of features of different extractors cannot be one set', {
      where: manifests.map(({ extractor, resize }) => `${extractor.name} (${resize})`).join(', '),
    });
  }
  const counts = new Map<string, number>();
  for (const { chunks, repeats } of manifests) {
    for (const key of new Set(chunks.flatMap(({ keys }) => keys))) {
      counts.set(key, (counts.get(key) ?? 0) + (repeats[key] ?? 1));
    }
  }
  const chunks = new Map(
    manifests.flatMap((manifest) => manifest.chunks).map((chunk) => [chunk.features.digest, chunk]),
  );
  const ordered = [...chunks.values()].sort((a, b) => (a.features.digest < b.features.digest ? -1 : 1));
  return saveFeatureSet(store, { ...first, chunks: ordered, repeats: repeatsOf(counts) });
}

/** Stores the manifest of a set. */
export function saveFeatureSet(store: LocalStore, manifest: FeatureSetManifest): Promise<ArtifactRef> {
  return store.putJson('feature-set', manifest);
}

/** The counts above one, in the order of their keys. */
export function repeatsOf(counts: ReadonlyMap<string, number>): Record<string, number> {
  return Object.fromEntries([...counts].filter(([, count]) => count > 1).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** A set of features as its manifest says. */
export function featureSetOf(store: LocalStore, manifest: FeatureSetManifest): FeatureSet {
  const { extractor, resize, widths } = manifest;
  const { keys, chunkOf, rowOf } = placesOf(manifest);
  const chunks = new StoredChunks(
    store,
    manifest.chunks.map(({ features }) => features),
  );
  const rows = (name: 'pool' | 'logits' | 'spatial', d: number) => ({
    n: keys.length,
    d,
    read: (first: number, end: number) =>
      chunks.read(name, d, chunkOf.subarray(first, end), rowOf.subarray(first, end)),
  });
  return {
    extractor: { ...extractor, resize },
    keys,
    pool: rows('pool', widths.pool),
    ...(widths.logits === undefined ? {} : { logits: rows('logits', widths.logits) }),
    ...(widths.spatial === undefined ? {} : { spatial: rows('spatial', widths.spatial) }),
  };
}

/** Every picture's key, chunk and row there, in canonical order. */
function placesOf({ chunks, repeats }: FeatureSetManifest): {
  keys: readonly string[];
  chunkOf: Uint32Array;
  rowOf: Uint32Array;
} {
  const keys: string[] = [];
  const chunkOf: number[] = [];
  const rowOf: number[] = [];
  const seen = new Set<string>();
  for (const [chunk, { keys: own }] of chunks.entries()) {
    for (const [row, key] of own.entries()) {
      if (seen.has(key)) continue;
      seen.add(key);
      for (let copy = 0; copy < (repeats[key] ?? 1); copy += 1) {
        keys.push(key);
        chunkOf.push(chunk);
        rowOf.push(row);
      }
    }
  }
  const order = canonicalOrder(keys);
  return {
    keys: Array.from(order, (index) => keys[index] as string),
    chunkOf: order.map((index) => chunkOf[index] as number),
    rowOf: order.map((index) => rowOf[index] as number),
  };
}

async function loadManifest(store: LocalStore, ref: ArtifactRef): Promise<FeatureSetManifest> {
  const parsed = featureSetManifestSchema.safeParse(await store.getJson(ref));
  if (parsed.success) return parsed.data;
  throw new NibbleflowError('MissingArtifact', 'the stored set of features is of another version', {
    where: ref.digest,
  });
}
