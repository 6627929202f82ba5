import { promptPool } from '../activities/prompt-pool.js';
import { NibbleflowError } from '../contracts/errors.js';
import type { Protocol } from '../contracts/protocol.js';
import type { Pipeline } from '../models/pipelines/pipeline.js';
import { drawPromptSets, normalizedPrompt, shuffledPrompts } from '../models/pipelines/prompt-sets.js';
import type { OwnManifest } from './read-own-manifest.js';
import { readPrompts } from './read-prompts.js';

/**
 * As many prompts as pictures, in order. Quantization calibrates from the start of the shuffled pool, evaluation takes from its
 * end: two recipes of the same pipeline are evaluated on the same prompts. Prompts are repeated when there are more pictures
 * (their noise differs). Empty texts for models without text.
 * @throws NibbleflowError InvalidInput when the pipeline is known to be calibrated on some of them
 */
export async function evaluationPrompts(
  pipeline: Pipeline,
  { prompts: file, samples, seed }: Protocol,
  manifest: OwnManifest | null,
): Promise<string[]> {
  if (pipeline.textEncoder === null) return new Array<string>(samples).fill('');
  const texts = file === null ? promptPool(pipeline.files) : await readPrompts(file);
  const pool = shuffledPrompts(texts, seed).reverse();
  const drawn = Array.from({ length: samples }, (_, index) => pool[index % pool.length] ?? '');
  const calibrated = calibratedOn(pipeline, manifest);
  const shared = new Set(drawn.map(normalizedPrompt).filter((text) => calibrated.has(text)));
  if (shared.size > 0) {
    throw new NibbleflowError(
      'InvalidInput',
      `the pipeline was calibrated on ${shared.size} of the prompts it would be evaluated on`,
      { where: 'prompts', fix: 'Take fewer pictures with --samples, or other prompts with --set prompts=FILE.' },
    );
  }
  return drawn;
}

/** Normalized texts a quantized folder was calibrated on, as far as its manifest tells. */
function calibratedOn(pipeline: Pipeline, manifest: OwnManifest | null): ReadonlySet<string> {
  const recipe = manifest?.recipe;
  if (recipe === undefined || recipe.prompts.file !== null) return new Set();
  const { calibration } = drawPromptSets({
    prompts: promptPool(pipeline.files),
    evaluation: recipe.prompts.evaluation,
    evaluationCount: recipe.evaluation.samples,
    calibrationCount: recipe.calibration.trajectories,
    seed: recipe.evaluation.seed,
  });
  return new Set(calibration.map(normalizedPrompt));
}
