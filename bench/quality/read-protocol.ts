import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { NibbleflowError } from '../../contracts/errors.js';
import type { Images } from '../../evaluation/metrics/image-pairs.js';
import type { EvaluationTriple } from '../../evaluation/sampling/evaluation-triples.js';
import { tensorFromNpy } from '../../models/tensors/npy.js';
import { asFloat32, type Float32Tensor, sliceRows } from '../../models/tensors/tensor.js';
import { type PublishedRows, publishedRowsSchema } from './published-rows.js';

const index = z.number().int().nonnegative();
const protocolSchema = z.object({
  name: z.string(),
  num_inference_steps: z.number().int().positive(),
  timesteps: z.array(index),
  guidance_scale: z.number(),
  negative_prompt: z.literal(''),
  evaluation_prompts: z.array(z.string()).min(2),
  /** [image, step index, branch: 0 negative, 1 prompt] */
  triples: z.array(z.tuple([index, index, z.union([z.literal(0), z.literal(1)])])),
});

/** A fixed evaluation: prompts, noise, sampler and the float model's answers. */
export interface Protocol {
  readonly name: string;
  /** sha256 of prompts, noise and pictures. */
  readonly digest: string;
  readonly steps: number;
  readonly timesteps: readonly number[];
  readonly guidance: number;
  /** Every prompt of the protocol, also those left out by a smaller number of samples: none may be calibrated on. */
  readonly allPrompts: readonly string[];
  /** Prompts of the first `samples` pictures. */
  readonly prompts: readonly string[];
  /** Unit start noise [samples, C, H, W]. */
  readonly latents: Float32Tensor;
  readonly floatImages: Images;
  /** Those of the pictures that are sampled, by picture. */
  readonly triples: readonly EvaluationTriple[];
  readonly published: PublishedRows;
}

/** Reads a protocol's folder, its first `samples` pictures only. Throws InvalidInput when it has fewer or files disagree. */
export function readProtocol(folder: string, samples?: number): Protocol {
  const read = (file: string): Uint8Array => readFileSync(join(folder, file));
  const json = (file: string): unknown => JSON.parse(new TextDecoder().decode(read(file)));
  const parsed = protocolSchema.parse(json('protocol.json'));
  const { evaluation_prompts: allPrompts } = parsed;
  const n = samples ?? allPrompts.length;
  if (!Number.isInteger(n) || n < 2 || n > allPrompts.length) {
    throw new NibbleflowError('InvalidInput', `the protocol has pictures for 2 to ${allPrompts.length} samples`, {
      where: `--samples ${n}`,
    });
  }
  const latents = asFloat32(tensorFromNpy(read('latents.npy')));
  const pictures = tensorFromNpy(read('float_u8.npy'));
  if (pictures.type !== 'uint8' || [latents, pictures].some(({ dims }) => dims[0] !== allPrompts.length)) {
    throw new NibbleflowError('InvalidInput', 'prompts, noise and pictures of the protocol differ in number', {
      where: parsed.name,
    });
  }
  return {
    name: parsed.name,
    digest: digestOf(['protocol.json', 'latents.npy', 'float_u8.npy'].map(read)),
    steps: parsed.num_inference_steps,
    timesteps: parsed.timesteps,
    guidance: parsed.guidance_scale,
    allPrompts,
    prompts: allPrompts.slice(0, n),
    latents: sliceRows(latents, 0, n),
    floatImages: sliceRows(pictures as Images, 0, n),
    triples: parsed.triples
      .flatMap(([image, step, branch]) => (image < n ? [{ image, step, branch }] : []))
      .sort((a, b) => a.image - b.image),
    published: publishedRowsSchema.parse(json('baselines.json')),
  };
}

function digestOf(files: readonly Uint8Array[]): string {
  const hash = createHash('sha256');
  for (const bytes of files) hash.update(bytes);
  return hash.digest('hex');
}
