import { NibbleflowError } from '../../contracts/errors.js';
import type { Float32Tensor } from '../../models/tensors/tensor.js';
import { type MeanInterval, meanInterval } from '../statistics/paired-interval.js';

/**
 * CLIP score (Hessel et al. 2021): how well pictures fit their prompts, the mean over pairs of
 *   100 · max(cos(image embedding, text embedding), 0).
 * The paper multiplies by 2.5; 100 is what the common tools print.
 */
const SCALE = 100;

/** Score of each pair of rows of [n, d] embeddings of pictures and of their prompts. */
export function clipScores(images: Float32Tensor, texts: Float32Tensor): Float64Array {
  const [n = 0, d = 0] = images.dims;
  if (images.dims.length !== 2 || n !== texts.dims[0] || d !== texts.dims[1] || texts.dims.length !== 2) {
    throw new NibbleflowError(
      'InvalidInput',
      `embeddings of pictures [${images.dims.join(', ')}] and of prompts [${texts.dims.join(', ')}] do not pair up`,
      { fix: 'Give one prompt per picture, and encoders of one model.' },
    );
  }
  return Float64Array.from({ length: n }, (_, i) => {
    const at = i * d;
    const cosine = cosineOf(images.data.subarray(at, at + d), texts.data.subarray(at, at + d));
    if (!Number.isFinite(cosine)) {
      throw new NibbleflowError('InvalidInput', `pair ${i} has an embedding of length 0, or that is not finite`);
    }
    return SCALE * Math.max(cosine, 0);
  });
}

/** Mean over pairs with Student's interval. Throws InvalidInput for embeddings that do not pair up, or none. */
export function clipScore(images: Float32Tensor, texts: Float32Tensor): MeanInterval {
  const scores = clipScores(images, texts);
  if (scores.length === 0) throw new NibbleflowError('InvalidInput', 'there are no pictures to score');
  return meanInterval(scores.sort());
}

function cosineOf(a: Float32Array, b: Float32Array): number {
  let product = 0;
  let left = 0;
  let right = 0;
  for (let j = 0; j < a.length; j += 1) {
    product += (a[j] as number) * (b[j] as number);
    left += (a[j] as number) ** 2;
    right += (b[j] as number) ** 2;
  }
  return product / Math.sqrt(left * right);
}
