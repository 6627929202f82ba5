import { closeSync, openSync, writeSync } from 'node:fs';
import { openFileSource } from '../../activities/file-source.js';
import type { FeatureRows } from '../../evaluation/features/feature-set.js';
import { npyFromTensor } from '../../models/tensors/npy.js';
import { bytesFromTensor, dataFromBytes, type Float32Tensor, zeros } from '../../models/tensors/tensor.js';

/** Header of a float32 array [n, d] in .npy format. */
function header(n: number, d: number): Uint8Array {
  const empty = zeros('float32', [0, d]);
  return npyFromTensor({ ...empty, dims: [n, d] });
}

/** Writes float32 rows [n, d] a piece at a time, as numpy would. */
export async function writeNpyRows(
  path: string,
  [n, d]: readonly [number, number],
  pieces: AsyncIterable<Float32Tensor>,
): Promise<void> {
  const file = openSync(path, 'w');
  try {
    writeSync(file, header(n, d));
    for await (const piece of pieces) writeSync(file, bytesFromTensor(piece));
  } finally {
    closeSync(file);
  }
}

/** Rows of such a file, read when they are asked for. */
export async function openNpyRows(
  path: string,
  n: number,
  d: number,
): Promise<FeatureRows & { close(): Promise<void> }> {
  const source = await openFileSource(path);
  const start = header(n, d).byteLength;
  return {
    ...{ n, d },
    read: async (first, end) => dataFromBytes('float32', await source.read(start + first * d * 4, start + end * d * 4)),
    close: () => source.close(),
  };
}
