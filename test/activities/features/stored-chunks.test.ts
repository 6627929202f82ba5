import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { StoredChunks } from '../../../activities/features/stored-chunks.js';
import { LocalStore } from '../../../activities/store/local-store.js';
import type { ArtifactRef } from '../../../contracts/artifact.js';
import { permutation } from '../../../models/tensors/random.js';
import { writeSafetensors } from '../../../models/tensors/safetensors.js';
import { float32 } from '../../../models/tensors/tensor.js';

const CHUNKS = 12;
const ROWS = 50;

let folder: string;
let store: LocalStore;
let opened: ArtifactRef[];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'nibbleflow-chunks-'));
  store = await LocalStore.open(folder);
  const path = store.path.bind(store);
  store.path = (ref) => {
    opened.push(ref);
    return path(ref);
  };
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** Chunks whose row r of chunk c holds 1000·c + r, `d` times. */
async function chunksOf(d: number): Promise<{ chunks: StoredChunks; refs: ArtifactRef[] }> {
  const refs: ArtifactRef[] = [];
  for (let chunk = 0; chunk < CHUNKS; chunk += 1) {
    const data = Float32Array.from({ length: ROWS * d }, (_, i) => 1000 * chunk + Math.floor(i / d));
    refs.push(await store.put('features', writeSafetensors(new Map([['pool', float32([ROWS, d], data)]]))));
  }
  return { chunks: new StoredChunks(store, refs), refs };
}

describe('rows of many chunks', () => {
  // Rows of 20,000 numbers lie so far apart that those between are not read.
  test.each([3, 20_000])('of %i numbers come in the order they are asked for, each file opened once', async (d) => {
    const { chunks, refs } = await chunksOf(d);
    // As sets of shards have them: neighbours are of other chunks, some rows are there twice.
    const drawn = [...permutation(1, 0, CHUNKS * ROWS).slice(0, 200), 7, 7, 599];
    const chunkOf = Uint32Array.from(drawn, (at) => at % CHUNKS);
    const rowOf = Uint32Array.from(drawn, (at) => Math.floor(at / CHUNKS));
    opened = [];
    const rows = await chunks.read('pool', d, chunkOf, rowOf);
    for (const [i, chunk] of chunkOf.entries()) {
      const expected = 1000 * chunk + (rowOf[i] ?? 0);
      expect([rows[i * d], rows[(i + 1) * d - 1]]).toEqual([expected, expected]);
    }
    expect(opened.map(({ digest }) => digest).sort()).toEqual(refs.map(({ digest }) => digest).sort());
  });

  test('of another width or name are refused', async () => {
    opened = [];
    const { chunks } = await chunksOf(3);
    const one = Uint32Array.of(0);
    await expect(chunks.read('pool', 4, one, one)).rejects.toThrow(/chunk of pool is \[50,3\]/);
    await expect(chunks.read('logits', 3, one, one)).rejects.toThrow(/no logits/);
  });
});
