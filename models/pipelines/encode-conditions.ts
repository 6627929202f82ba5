import type { Executor } from '../executor.js';
import type { Float32Tensor } from '../tensors/tensor.js';
import { encodePrompts } from './encode-prompts.js';
import { openComponent } from './open-component.js';
import type { Pipeline } from './pipeline.js';

export interface Conditions {
  /** [prompts, S, D]; null for models without text. */
  readonly conditioning: Float32Tensor | null;
  /** [1, S, D] of the empty prompt; null without guidance. */
  readonly negative: Float32Tensor | null;
}

/** What the denoiser is conditioned on for each prompt: the text encoder is opened, run and released. */
export async function encodeConditions(
  executor: Executor,
  pipeline: Pipeline,
  prompts: readonly string[],
  guidance: number,
): Promise<Conditions> {
  if (pipeline.textEncoder === null) return { conditioning: null, negative: null };
  const encoder = await openComponent(executor, pipeline.files, pipeline.textEncoder);
  try {
    const conditioning = await encodePrompts(pipeline, encoder, prompts);
    return { conditioning, negative: guidance === 1 ? null : await encodePrompts(pipeline, encoder, ['']) };
  } finally {
    await encoder.release();
  }
}

/** Classifier-free guidance runs two branches, the one without the prompt first. */
export function branchesOf(conditions: Conditions): 1 | 2 {
  return conditions.negative === null ? 1 : 2;
}
