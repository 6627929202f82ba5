import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LocalStore } from '../../activities/store/local-store.js';
import { type BlockDataFacts, metadataOf, StoredBlockData } from '../../activities/stored-block-data.js';
import { float16FromFloat32 } from '../../models/tensors/float16.js';
import { gaussianTensor } from '../../models/tensors/random.js';
import { writeSafetensors } from '../../models/tensors/safetensors.js';
import type { Tensor } from '../../models/tensors/tensor.js';
import { dataInMemory } from '../../quantization/rounding/reconstruction/block-data.js';

let folder: string;
let store: LocalStore;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'nibbleflow-block-data-'));
  store = await LocalStore.open(folder);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const FACTS: BlockDataFacts = {
  storage: 'float16',
  timesteps: [9, 5, 1, 9, 5],
  inputs: { sample: 'x', timestep: 't', conditioning: null },
  item: { sample: [3, 4, 4], conditioning: null },
};

describe('block data in the store', () => {
  it('gives the rows of any items, as the same data in memory does', async () => {
    const tensors = new Map<string, Tensor>([
      ['float/a', float16FromFloat32(gaussianTensor(1, 1, [5, 1, 3, 7]))],
      ['target/b', gaussianTensor(1, 2, [5, 2, 3])],
    ]);
    const ref = await store.put('block-data', writeSafetensors(tensors, metadataOf(FACTS)));
    const data = await StoredBlockData.open(store, ref);
    const held = dataInMemory(tensors, 'float16', FACTS.timesteps);
    expect(data.facts).toEqual(FACTS);
    expect([data.storage, data.timesteps]).toEqual([held.storage, held.timesteps]);
    for (const items of [[0], [4, 0, 2, 2], [0, 1, 2, 3, 4]]) {
      for (const name of tensors.keys()) expect(await data.rows(name, items)).toEqual(await held.rows(name, items));
    }
    expect((await data.rows('target/b', [3, 1])).dims).toEqual([4, 3]);
    await expect(data.rows('target/c', [0])).rejects.toMatchObject({ kind: 'MissingArtifact' });
    await data.close();
  });

  it('is refused when its header is not whole', async () => {
    const whole = writeSafetensors(new Map([['a', gaussianTensor(1, 3, [2, 2])]]));
    const ref = await store.put('block-data', whole.subarray(0, 20));
    await expect(StoredBlockData.open(store, ref)).rejects.toMatchObject({ kind: 'InvalidInput' });
  });
});
