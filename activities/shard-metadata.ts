import type { ArtifactRef } from '../contracts/artifact.js';
import { NibbleflowError } from '../contracts/errors.js';
import { readSafetensorsHeader } from '../models/tensors/safetensors.js';
import { openFileSource } from './file-source.js';
import type { LocalStore } from './store/local-store.js';

/** How a shard of an evaluation was sampled; metadata of its trajectories. */
export interface ShardMetadata {
  /** Of the sampler's steps. */
  readonly timesteps: readonly number[];
  /** Pictures sampled together: fewer than usual after memory ran out. */
  readonly batch: number;
}

export function shardMetadata({ timesteps, batch }: ShardMetadata): Record<string, string> {
  return { timesteps: JSON.stringify(timesteps), batch: String(batch) };
}

/** How a shard's trajectories were sampled, from the head of their file. @throws NibbleflowError MissingArtifact */
export async function loadShardMetadata(store: LocalStore, ref: ArtifactRef): Promise<ShardMetadata> {
  const file = await openFileSource(await store.path(ref));
  try {
    const { timesteps, batch } = (await readSafetensorsHeader(file.read)).metadata;
    if (timesteps === undefined || batch === undefined) {
      throw new NibbleflowError('MissingArtifact', 'the artifact holds no trajectories of a shard', {
        where: ref.digest,
      });
    }
    return { timesteps: JSON.parse(timesteps) as number[], batch: Number(batch) };
  } finally {
    await file.close();
  }
}

/**
 * Notes about shards whose pictures were sampled in other batches than the float pictures of the same seeds, which moves float32
 * sums by rounding; empty when all are alike.
 */
export function unlikeBatches(batches: readonly number[], floatBatches: readonly number[]): string[] {
  const unlike = batches.flatMap((batch, shard) =>
    batch === floatBatches[shard] ? [] : [`${batch} instead of ${floatBatches[shard]}`],
  );
  if (unlike.length === 0) return [];
  const sizes = [...new Set(unlike)].sort().join(', ');
  return [
    `memory ran out: ${unlike.length} of ${batches.length} shards were sampled in batches of other sizes than their float pictures (${sizes}), which differ by rounding`,
  ];
}
