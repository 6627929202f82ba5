import type { PromptSets } from '../../contracts/activities.js';
import { NibbleflowError } from '../../contracts/errors.js';
import { permutation } from '../tensors/random.js';

export interface PromptDraw {
  /** Everything there is to draw from; repeated texts count once, empty ones not at all. */
  readonly prompts: readonly string[];
  /** Exact evaluation prompts; null draws them. */
  readonly evaluation: readonly string[] | null;
  readonly evaluationCount: number;
  readonly calibrationCount: number;
  readonly seed: number;
}

/** What makes two prompts the same: trimmed, lower case, runs of white space as one space. */
export function normalizedPrompt(text: string): string {
  return text.trim().toLowerCase().replace(/\s+/gu, ' ');
}

/**
 * Draws calibration and evaluation prompts that share no text. The order of the pool is a permutation by `seed`; evaluation
 * takes from its start, calibration what follows, so that a larger calibration set keeps the evaluation as it is.
 * @throws NibbleflowError InvalidRecipe when there are too few prompts, saying how many are needed
 */
export function drawPromptSets(draw: PromptDraw): PromptSets {
  const { evaluationCount, calibrationCount } = draw;
  const pool = shuffledPrompts(draw.prompts, draw.seed);
  if (draw.evaluation === null) {
    const needed = evaluationCount + calibrationCount;
    if (pool.length < needed) {
      throw tooFew(
        pool.length,
        `${evaluationCount} for evaluation and ${calibrationCount} for calibration need ${needed}`,
        `Give a file with at least ${needed} different prompts, or lower evaluation.samples or calibration.trajectories.`,
      );
    }
    return { evaluation: pool.slice(0, evaluationCount), calibration: pool.slice(evaluationCount, needed) };
  }
  if (draw.evaluation.length < evaluationCount) {
    throw tooFew(
      draw.evaluation.length,
      `evaluation needs ${evaluationCount}`,
      `List ${evaluationCount} prompts in prompts.evaluation, or lower evaluation.samples.`,
    );
  }
  const evaluation = draw.evaluation.slice(0, evaluationCount);
  const taken = new Set(draw.evaluation.map(normalizedPrompt));
  const left = pool.filter((prompt) => !taken.has(normalizedPrompt(prompt)));
  if (left.length < calibrationCount) {
    throw tooFew(
      left.length,
      `calibration needs ${calibrationCount} that are not evaluated`,
      `Give a file with at least ${calibrationCount} other prompts, or lower calibration.trajectories.`,
    );
  }
  return { evaluation, calibration: left.slice(0, calibrationCount) };
}

/**
 * @throws NibbleflowError InvalidRecipe naming texts that calibration and evaluation share; empty texts, the prompts of
 * models without text, are no overlap
 */
export function checkDisjoint(sets: PromptSets): void {
  const evaluated = new Set(sets.evaluation.map(normalizedPrompt));
  const shared = [...new Set(sets.calibration.map(normalizedPrompt))].filter(
    (text) => text !== '' && evaluated.has(text),
  );
  if (shared.length === 0) return;
  const examples = shared.slice(0, 3).map((text) => `"${text}"`);
  throw new NibbleflowError(
    'InvalidRecipe',
    `${shared.length} prompts are both calibrated on and evaluated, such as ${examples.join(', ')}`,
    {
      where: 'prompts',
      fix: 'Take them out of one of the two lists.',
    },
  );
}

function uniquePrompts(prompts: readonly string[]): string[] {
  const byText = new Map<string, string>();
  for (const prompt of prompts) {
    const text = normalizedPrompt(prompt);
    if (text !== '' && !byText.has(text)) byText.set(text, prompt.trim());
  }
  return [...byText.values()];
}

/** Different texts in the order that prompts are drawn in: a permutation by `seed`. */
export function shuffledPrompts(prompts: readonly string[], seed: number): string[] {
  const unique = uniquePrompts(prompts);
  return Array.from(permutation(seed, 0, unique.length), (index) => unique[index] ?? '');
}

function tooFew(found: number, needed: string, fix: string): NibbleflowError {
  return new NibbleflowError('InvalidRecipe', `there are too few prompts: ${found} different ones; ${needed}`, {
    where: 'prompts',
    fix,
  });
}
