import { permutation } from '../../models/tensors/random.js';

/** One call of the denoiser on a float trajectory. */
export interface EvaluationTriple {
  readonly image: number;
  readonly step: number;
  readonly branch: number;
}

/** Stream of the evaluation seed that draws them. */
const TRIPLE_STREAM = 2 ** 33;

/** A draw without repetition of `count` (or all) triples, sorted by image, step and branch. */
export function evaluationTriples(
  sizes: { readonly images: number; readonly steps: number; readonly branches: number },
  count: number,
  seed: number,
): EvaluationTriple[] {
  const { images, steps, branches } = sizes;
  const order = permutation(seed, TRIPLE_STREAM, images * steps * branches)
    .slice(0, count)
    .sort();
  return Array.from(order, (index) => ({
    image: Math.floor(index / (steps * branches)),
    step: Math.floor(index / branches) % steps,
    branch: index % branches,
  }));
}
