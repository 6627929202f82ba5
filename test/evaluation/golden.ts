import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { tensorFromNpy } from '../../models/tensors/npy.js';
import { asFloat32, type Float32Tensor, type Tensor } from '../../models/tensors/tensor.js';

const ROOT = new URL('../golden/', import.meta.url);

/** Path of a golden file. */
export function goldenPath(path: string): string {
  return fileURLToPath(new URL(path, ROOT));
}

/** A golden .npy file. */
export function goldenNpy(path: string): Tensor {
  return tensorFromNpy(readFileSync(goldenPath(path)));
}

/** A golden float32 .npy file. */
export function goldenFloat32(path: string): Float32Tensor {
  return asFloat32(goldenNpy(path));
}

/** A golden uint8 .npy file as pictures: [h, w, c] becomes [1, h, w, c]. */
export function goldenImages(path: string): Tensor<'uint8'> {
  const value = goldenNpy(path);
  const dims = value.dims.length === 3 ? [1, ...value.dims] : value.dims;
  return { type: 'uint8', dims, data: value.data as Uint8Array };
}

/** A golden JSON file. */
export function goldenJson<T>(path: string): T {
  return JSON.parse(readFileSync(goldenPath(path), 'utf8')) as T;
}
