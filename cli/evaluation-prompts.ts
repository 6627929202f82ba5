import { promptPool } from '../activities/prompt-pool.js';
import { NibbleflowError } from '../contracts/errors.js';
import type { Protocol } from '../contracts/protocol.js';
import type { Pipeline } from '../models/pipelines/pipeline.js';
import { normalizedPrompt, shuffledPrompts } from '../models/pipelines/prompt-sets.js';
import type { Calibrated } from './calibrated-on.js';
import { readPrompts } from './read-prompts.js';

/**
 * As many prompts as pictures, in order. Quantization takes its prompts from the start of the shuffled pool, evaluation from its
 * end: recipes of one pipeline are evaluated on the same prompts as long as there are enough. Prompts are repeated when there
 * are more pictures than prompts (their noise differs); those that the pipeline is known to be calibrated on are left out.
 * Empty texts for models without text.
 * @throws NibbleflowError InvalidInput when nothing is left
 */
export async function evaluationPrompts(
  pipeline: Pipeline,
  { prompts: file, samples, seed }: Protocol,
  calibrated: Calibrated,
): Promise<string[]> {
  if (pipeline.textEncoder === null) return new Array<string>(samples).fill('');
  const texts = file === null ? promptPool(pipeline.files) : await readPrompts(file);
  const pool = shuffledPrompts(texts, seed)
    .filter((text) => !calibrated.texts.has(normalizedPrompt(text)))
    .reverse();
  if (pool.length === 0) {
    throw new NibbleflowError('InvalidInput', 'the pipeline was calibrated on all of the prompts', {
      where: 'prompts',
      fix: 'Give other prompts with --set prompts=FILE.',
    });
  }
  return Array.from({ length: samples }, (_, index) => pool[index % pool.length] ?? '');
}
