import { NibbleflowError } from '../../contracts/errors.js';
import type { Runnable } from '../executor.js';
import { roundHalfToEven } from '../samplers/timestep-spacing.js';
import { concatRows, type Float32Tensor, float32, sliceRows, type Tensor, tensor } from '../tensors/tensor.js';
import { floatFeed } from './denoiser-feeds.js';
import { floatOutput } from './encode-prompts.js';
import type { Pipeline, VaeDecoder } from './pipeline.js';

export interface DecodeLatentsOptions {
  /** Pictures per run of the VAE decoder. Default 8. */
  readonly batchSize?: number;
}

/**
 * Pictures from final latents: latents / scaling_factor + shift_factor through the VAE decoder (none in pixel space), then
 * the range −1…1 to 0…255: clamp(x/2 + 0.5)·255, halves to even.
 * @param vaeDecoder the opened model of `pipeline.vaeDecoder`; null exactly when that is null
 * @param latents [B, C, H, W]
 * @returns uint8 [B, height, width, channels]
 * @throws NibbleflowError InvalidModel when a decoder is missing or not wanted
 */
export async function decodeLatents(
  pipeline: Pipeline,
  vaeDecoder: Runnable | null,
  latents: Float32Tensor,
  options: DecodeLatentsOptions = {},
): Promise<Tensor<'uint8'>> {
  const component = pipeline.vaeDecoder;
  if (component === null && vaeDecoder === null) return picturesFromSignal(latents);
  if (component === null || vaeDecoder === null) {
    const what = component === null ? 'has no VAE decoder, but one was given' : 'has a VAE decoder, but none was given';
    throw new NibbleflowError('InvalidModel', `the pipeline ${what}`, { where: pipeline.name });
  }
  const batchSize = options.batchSize ?? 8;
  const rows = latents.dims[0] ?? 0;
  const parts: Tensor<'uint8'>[] = [];
  for (let start = 0; start < rows; start += batchSize) {
    const batch = sliceRows(latents, start, Math.min(rows, start + batchSize));
    const outputs = await vaeDecoder.run({ [component.input]: vaeFeed(component, batch) }, [component.output]);
    parts.push(picturesFromSignal(floatOutput(outputs, component.output)));
  }
  return concatRows(parts);
}

function vaeFeed(component: VaeDecoder, latents: Float32Tensor): Tensor {
  const unscaled = latents.data.map((value) => Math.fround(value / component.scalingFactor) + component.shiftFactor);
  return floatFeed(component.inputType, float32(latents.dims, unscaled));
}

/**
 * float32 [B, C, H, W] in −1…1 to uint8 [B, H, W, C]; each operation is rounded to float32, as numpy does in diffusers.
 * Values beyond the range are clamped; NaN becomes 0.
 */
export function picturesFromSignal(signal: Float32Tensor): Tensor<'uint8'> {
  const [rows = 0, channels = 0, height = 0, width = 0] = signal.dims;
  const pixels = height * width;
  const result = new Uint8Array(signal.data.length);
  for (let row = 0; row < rows; row += 1) {
    for (let channel = 0; channel < channels; channel += 1) {
      const from = (row * channels + channel) * pixels;
      for (let pixel = 0; pixel < pixels; pixel += 1) {
        const value = Math.fround((signal.data[from + pixel] ?? 0) / 2 + 0.5);
        const clamped = Math.min(1, Math.max(0, value));
        result[(row * pixels + pixel) * channels + channel] = roundHalfToEven(Math.fround(clamped * 255));
      }
    }
  }
  return tensor('uint8', [rows, height, width, channels], result);
}
