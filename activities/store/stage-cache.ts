import { createHash } from 'node:crypto';
import { z } from 'zod';
import { type ArtifactKind, type ArtifactRef, artifactRefSchema } from '../../contracts/artifact.js';
import { canonicalJson } from '../../contracts/canonical-json.js';
import { NibbleflowError } from '../../contracts/errors.js';
import { featureSetManifestSchema } from '../../contracts/feature-set-manifest.js';
import { pipelineManifestSchema } from '../../contracts/stages.js';
import { collect } from './bucket.js';
import type { LocalStore } from './local-store.js';
import { REUSE_REFRESH_MS } from './shared-objects.js';
import { resultKey } from './store-keys.js';

/** Artifacts that name others: all of them must be there. */
const MANIFESTS: Partial<Record<ArtifactKind, z.ZodType>> = {
  pipeline: pipelineManifestSchema,
  'feature-set': featureSetManifestSchema,
  shards: z.array(artifactRefSchema),
};

/** What decides whether a stage's result may be used again. */
export interface StageIdentity {
  readonly stage: string;
  /** Raised by hand when the stage's code gives other numbers. */
  readonly version: number;
  /** Inputs and parameters that the result depends on, and the facts of the machine that change its numbers. */
  readonly key: unknown;
}

/** sha256 of the canonical JSON of an identity: the name of a stage's result and checkpoints. */
export function stageKey(identity: StageIdentity): string {
  return createHash('sha256')
    .update(canonicalJson([identity.stage, identity.version, identity.key]))
    .digest('hex');
}

/** Results of finished stages by key, in `results/` of the store. */
export class StageCache {
  constructor(private readonly store: LocalStore) {}

  /** The stored result; undefined unless every artifact that it names, directly or in a manifest, is in the store. */
  async load(key: string): Promise<unknown> {
    const chunks = await this.store.records.read(resultKey(key));
    if (chunks === null) return undefined;
    const result = parsed(new TextDecoder().decode(await collect(chunks)));
    if (result === undefined) {
      await this.store.records.delete(resultKey(key));
      return undefined;
    }
    for (const ref of refsIn(result)) if (!(await this.complete(ref))) return undefined;
    await this.refresh(key, result);
    return result;
  }

  /** Keeps a result (atomic). */
  async save(key: string, result: unknown): Promise<void> {
    await this.store.records.put(resultKey(key), [new TextEncoder().encode(`${JSON.stringify(result)}\n`)]);
  }

  /** A result that is used again is young again: see liveness.ts. */
  private async refresh(key: string, result: unknown): Promise<void> {
    const found = await this.store.records.head(resultKey(key));
    if (found !== null && Date.now() - found.modifiedAt > REUSE_REFRESH_MS) await this.save(key, result);
  }

  private async complete(ref: ArtifactRef): Promise<boolean> {
    if (!(await this.store.has(ref))) return false;
    const schema = MANIFESTS[ref.kind];
    if (schema === undefined) return true;
    const manifest = schema.safeParse(await this.store.getJson(ref).catch(absent));
    if (!manifest.success) return false;
    for (const part of refsIn(manifest.data)) if (!(await this.complete(part))) return false;
    return true;
  }
}

/** A bucket's object counts as there by its size: that its bytes are others is seen when they come. */
function absent(error: unknown): undefined {
  if (error instanceof NibbleflowError && error.kind === 'MissingArtifact') return undefined;
  throw error;
}

/** Every artifact reference inside a JSON value. */
export function refsIn(value: unknown): ArtifactRef[] {
  if (value === null || typeof value !== 'object') return [];
  const ref = artifactRefSchema.safeParse(value);
  if (ref.success) return [ref.data];
  return Object.values(value).flatMap(refsIn);
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
