import type { Recipe } from '../../contracts/recipe.js';

/**
 * A recipe with its bits, scales and kind of ranges, but without its method: nearest codes, no rewritten graph, nothing
 * trained. What a recipe is worth is its distance from this. `finetuning` is left as it is, because the sampled trajectories
 * depend on it; the bench stops before it.
 */
export function plainRounding(recipe: Recipe): Recipe {
  return {
    ...recipe,
    name: `${recipe.name}-plain`,
    transforms: [],
    activations: {
      ...recipe.activations,
      channelOrder: 'given',
      granularity: 'tensor',
      grouping: { ...recipe.activations.grouping, method: 'none' },
    },
    attention: { ...recipe.attention, probabilities: 'uniform', keepFirstToken: false },
    calibration: { ...recipe.calibration, strategy: 'uniform-steps', samples: null },
    sensitivity: { ...recipe.sensitivity, enabled: false },
    mixedPrecision: { ...recipe.mixedPrecision, method: 'none' },
    corrections: [],
    lowRank: { ...recipe.lowRank, macsBudget: 0 },
    reconstruction: { ...recipe.reconstruction, enabled: false },
  };
}
