import { describe, expect, it } from 'vitest';
import { type RecipeInput, recipeSchema } from '../../contracts/recipe.js';

const STORED = { ranges: 'timestep' } as const;

const REFUSED: readonly { name: string; recipe: RecipeInput; path: string; says: string }[] = [
  {
    name: 'a range per channel at run time',
    recipe: { activations: { granularity: 'channel' } },
    path: 'activations.granularity',
    says: 'static or timestep',
  },
  {
    name: 'groups at run time',
    recipe: { activations: { grouping: { method: 'kmeans' } } },
    path: 'activations.grouping',
    says: 'static or timestep',
  },
  {
    name: 'groups of what has a range each',
    recipe: { activations: { ...STORED, granularity: 'channel', grouping: { method: 'kmeans' } } },
    path: 'activations.grouping',
    says: 'nothing to group',
  },
  {
    name: 'a grid for float probabilities',
    recipe: { attention: { bits: null, probabilities: 'log2' } },
    path: 'attention.probabilities',
    says: 'stay float',
  },
  {
    name: 'a float token among float tokens',
    recipe: { attention: { bits: null, keepFirstToken: true } },
    path: 'attention.keepFirstToken',
    says: 'stay float',
  },
];

describe('recipes for activations', () => {
  for (const { name, recipe, path, says } of REFUSED) {
    it(`refuse ${name}`, () => {
      const issues = recipeSchema.safeParse(recipe).error?.issues ?? [];
      expect(issues.map((issue) => issue.path.join('.'))).toEqual([path]);
      expect(issues[0]?.message).toContain(says);
    });
  }

  it('take ranges of channels or groups where they are stored, and logarithms where there are codes', () => {
    for (const recipe of [
      { activations: { ...STORED, granularity: 'channel' as const } },
      { activations: { ...STORED, grouping: { method: 'kmeans' as const, groups: 16 as const } } },
      { attention: { bits: 4, probabilities: 'log-sqrt2' as const, keepFirstToken: true } },
    ]) {
      expect(recipeSchema.safeParse(recipe).success).toBe(true);
    }
  });
});
