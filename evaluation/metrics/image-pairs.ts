import { NibbleflowError } from '../../contracts/errors.js';
import type { Tensor } from '../../models/tensors/tensor.js';

/** Pictures: uint8, [n, height, width, channels]. */
export type Images = Tensor<'uint8'>;

export interface ImageSize {
  readonly n: number;
  readonly height: number;
  readonly width: number;
  readonly channels: number;
}

/** The sizes of uint8 NHWC pictures; throws InvalidInput on another type or rank. */
export function imageSize(images: Tensor): ImageSize {
  const [n, height, width, channels] = images.dims;
  if (
    images.type !== 'uint8' ||
    images.dims.length !== 4 ||
    n === undefined ||
    height === undefined ||
    width === undefined ||
    channels === undefined
  ) {
    throw new NibbleflowError('InvalidInput', `pictures are uint8 [n, h, w, c], got ${images.type} [${images.dims}]`);
  }
  return { n, height, width, channels };
}

/** The common size of two sets of pictures; throws InvalidInput when they differ. */
export function pairedSize(a: Images, b: Images): ImageSize {
  const size = imageSize(a);
  imageSize(b);
  if (a.dims.some((dim, axis) => dim !== b.dims[axis])) {
    throw new NibbleflowError('InvalidInput', `pictures to compare differ in size: [${a.dims}] and [${b.dims}]`);
  }
  return size;
}
