import { readSafetensors, writeSafetensors } from '../../../models/tensors/safetensors.js';
import { asFloat32, type Float32Tensor, type Tensor } from '../../../models/tensors/tensor.js';
import type { BlockState } from './reconstruct-block.js';

/** A block's state as one safetensors file. Numbers survive exactly (JSON of doubles round-trips). */
export function blockCheckpoint({ trained, live, ...scalars }: BlockState): Uint8Array {
  const tensors = new Map<string, Tensor>();
  for (const [name, value] of trained) tensors.set(`trained:${name}`, value);
  for (const [name, value] of live) tensors.set(`live:${name}`, value);
  return writeSafetensors(tensors, { state: JSON.stringify(scalars) });
}

/** The reverse of `blockCheckpoint`. */
export function blockStateFrom(bytes: Uint8Array): BlockState {
  const { tensors, metadata } = readSafetensors(bytes);
  const part = (prefix: string): Map<string, Float32Tensor> =>
    new Map(
      [...tensors]
        .filter(([name]) => name.startsWith(prefix))
        .map(([name, value]) => [name.slice(prefix.length), asFloat32(value)]),
    );
  const scalars = JSON.parse(metadata.state ?? '{}') as Omit<BlockState, 'trained' | 'live'>;
  return { ...scalars, trained: part('trained:'), live: part('live:') };
}
