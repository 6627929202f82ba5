import { describe, expect, it } from 'vitest';
import { MAX_PAYLOAD_BYTES } from '../../activities/stage-frame.js';
import type { ArtifactRef } from '../../contracts/artifact.js';
import { SHARD_SIZES } from '../../contracts/evaluation-activities.js';
import { protocolSchema } from '../../contracts/protocol.js';
import { shardsOf } from '../../workflows/evaluation-state.js';

const MOST_SAMPLES = 50_000;
const MOST_TRAJECTORIES = 4096;
/** The largest that is ever in a list: a terabyte. */
const LARGEST: ArtifactRef = { kind: 'trajectories', digest: 'f'.repeat(64), sizeBytes: 10 ** 12 };

const sizeOf = (payload: unknown): number => Buffer.byteLength(JSON.stringify(payload));

describe('the shards of an evaluation', () => {
  it('hold every picture once, in whole batches', () => {
    for (const samples of [2, 63, 64, 65, 1000, 2049, 10_000, MOST_SAMPLES]) {
      const shards = shardsOf({ samples, trajectories: 256 });
      expect(shards[0]?.first).toBe(0);
      expect(shards.at(-1)?.end).toBe(samples);
      for (const [index, { first, end }] of shards.entries()) {
        expect(first % SHARD_SIZES.of).toBe(0);
        expect(first).toBe(shards[index - 1]?.end ?? 0);
        expect(end - first).toBeGreaterThan(0);
        expect(end - first).toBeLessThanOrEqual(SHARD_SIZES.most);
      }
    }
  });

  it('are listed in one small payload, however many pictures a protocol may ask for', () => {
    expect(protocolSchema.safeParse({ name: 'more', samples: MOST_SAMPLES + 1 }).success).toBe(false);
    expect(protocolSchema.safeParse({ name: 'more', trajectories: MOST_TRAJECTORIES + 1 }).success).toBe(false);
    const shards = shardsOf({ samples: MOST_SAMPLES, trajectories: MOST_TRAJECTORIES });
    expect(shards.length).toBeGreaterThan(MOST_SAMPLES / SHARD_SIZES.most);
    expect(sizeOf({ shards: shards.map(() => LARGEST) })).toBeLessThan(MAX_PAYLOAD_BYTES);
    const compared = shards.filter(({ first }) => first < MOST_TRAJECTORIES);
    expect(sizeOf({ trajectories: compared.map(() => LARGEST) })).toBeLessThan(MAX_PAYLOAD_BYTES / 2);
  });
});
