import { type FileHandle, open } from 'node:fs/promises';
import type { ArtifactRef } from '../contracts/artifact.js';
import { NibbleflowError } from '../contracts/errors.js';
import { readSafetensorsHeader, type SafetensorsEntry } from '../models/tensors/safetensors.js';
import { dataFromBytes, elementCount, elementSizeBytes, type Tensor, tensor } from '../models/tensors/tensor.js';
import type { DenoiserInputs } from '../quantization/layer-roles.js';
import type { BlockData, ItemDims } from '../quantization/rounding/reconstruction/block-data.js';
import type { LocalStore } from './store/local-store.js';

/** What a block-data artifact says beside its tensors. */
export interface BlockDataFacts {
  readonly storage: BlockData['storage'];
  readonly timesteps: readonly number[];
  readonly inputs: DenoiserInputs;
  readonly item: ItemDims;
}

export function metadataOf(facts: BlockDataFacts): Record<string, string> {
  return { facts: JSON.stringify(facts) };
}

/** Block data read from its file, items at a time: however much there is, only a batch of it is in memory. */
export class StoredBlockData implements BlockData {
  private constructor(
    private readonly file: FileHandle,
    private readonly entries: ReadonlyMap<string, SafetensorsEntry>,
    readonly facts: BlockDataFacts,
  ) {}

  /** The caller closes it. Throws MissingArtifact. */
  static async open(store: LocalStore, ref: ArtifactRef): Promise<StoredBlockData> {
    const file = await open(await store.path(ref), 'r');
    try {
      const { entries, metadata } = await readSafetensorsHeader((start, end) => readRange(file, start, end));
      return new StoredBlockData(file, entries, JSON.parse(metadata.facts ?? '{}') as BlockDataFacts);
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  get storage(): BlockData['storage'] {
    return this.facts.storage;
  }

  get timesteps(): readonly number[] {
    return this.facts.timesteps;
  }

  async rows(name: string, items: readonly number[]): Promise<Tensor> {
    const entry = this.entries.get(name);
    if (entry === undefined) throw new NibbleflowError('MissingArtifact', 'block data is incomplete', { where: name });
    const { type, start } = entry;
    const [total = 1, rows = 1, ...rest] = entry.dims;
    const size = (elementCount(entry.dims) / total) * elementSizeBytes(type);
    const bytes = new Uint8Array(items.length * size);
    for (const [index, item] of items.entries()) {
      const part = bytes.subarray(index * size, (index + 1) * size);
      const { bytesRead } = await this.file.read(part, 0, size, start + item * size);
      if (bytesRead !== size) throw new NibbleflowError('MissingArtifact', 'block data ends early', { where: name });
    }
    return tensor(type, [items.length * rows, ...rest], dataFromBytes(type, bytes));
  }

  async close(): Promise<void> {
    await this.file.close();
  }
}

async function readRange(file: FileHandle, start: number, end: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(end - start);
  const { bytesRead } = await file.read(bytes, 0, bytes.byteLength, start);
  return bytes.subarray(0, bytesRead);
}
