import type { ArtifactRef } from '../../contracts/artifact.js';
import { type Images, imageSize } from '../../evaluation/metrics/image-pairs.js';
import { writeSafetensors } from '../../models/tensors/safetensors.js';
import { sliceRows, type Tensor, tensor } from '../../models/tensors/tensor.js';
import type { LocalStore } from '../store/local-store.js';
import { asRgb } from './as-rgb.js';
import { encodePng } from './encode-png.js';
import { mapConcurrently } from './map-concurrently.js';
import { pictureKey } from './picture-key.js';

/** How sampled pictures are stored: one uint8 array, or each as the bytes of a PNG file. Both give back every level. */
export type PictureFormat = 'packed' | 'png';

/** Tensors of an artifact of pictures. */
export const PACKED = 'images';
export const KEYS = 'keys';
/** The tensor of picture `index`: bytes of a PNG file. */
export const pngName = (index: number): string => `png.${String(index).padStart(6, '0')}`;

const ENCODED_AT_ONCE = 4;

/**
 * Stores pictures [n, h, w, 3 or 1] with their keys, so that opening them does not read every pixel. `png` takes less space
 * and more time; greys become RGB in both.
 */
export async function storePictures(store: LocalStore, images: Images, format: PictureFormat): Promise<ArtifactRef> {
  const rgb = asRgb(images);
  const { n, height, width } = imageSize(rgb);
  const pictures = Array.from({ length: n }, (_, i) => sliceRows(rgb, i, i + 1));
  const keys = Buffer.concat(pictures.map((picture) => Buffer.from(pictureKey(picture), 'hex')));
  const tensors = new Map<string, Tensor>([[KEYS, tensor('uint8', [n, 32], new Uint8Array(keys))]]);
  if (format === 'packed') tensors.set(PACKED, rgb);
  else {
    const files = await mapConcurrently(pictures, ENCODED_AT_ONCE, encodePng);
    for (const [i, file] of files.entries()) {
      tensors.set(pngName(i), tensor('uint8', [file.length], new Uint8Array(file)));
    }
  }
  return store.put('images', writeSafetensors(tensors, { format, height: String(height), width: String(width) }));
}
