import type { Runnable } from '../../models/executor.js';
import { decodeLatents } from '../../models/pipelines/decode-latents.js';
import { type SampleLatentsOptions, sampleLatents } from '../../models/pipelines/sample-latents.js';
import type { Float32Tensor } from '../../models/tensors/tensor.js';
import type { Images } from '../metrics/image-pairs.js';

/** Samples a batch to the end: final latents [B, C, H, W] and the pictures that they decode to, uint8 [B, h, w, c]. */
export async function samplePictures(
  options: SampleLatentsOptions & { readonly vaeDecoder: Runnable | null },
): Promise<{ latents: Float32Tensor; images: Images }> {
  const latents = await sampleLatents(options);
  return { latents, images: await decodeLatents(options.pipeline, options.vaeDecoder, latents) };
}
