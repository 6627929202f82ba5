import { describe, expect, it } from 'vitest';
import { type RecipeInput, recipeSchema } from '../../contracts/recipe.js';

const GROUPS = { ranges: 'dynamic', groupSize: 16 } as const;

const REFUSED: readonly (readonly [string, RecipeInput, RegExp])[] = [
  ['a gate that stops without a scan', { sensitivity: { gate: { stop: true } } }, /stop needs the scan/],
  [
    'a gate that is fine above doomed',
    { sensitivity: { enabled: true, gate: { fine: 0.3, doomed: 0.2 } } },
    /fine lies above doomed/,
  ],
  ['mixed precision without a scan', { mixedPrecision: { method: 'greedy' } }, /needs the sensitivity scan/],
  ['samples that nobody allots', { calibration: { samples: 32 } }, /leave samples out/],
  [
    'more samples than trajectories',
    { activations: GROUPS, calibration: { strategy: 'density-variety', trajectories: 16, samples: 17 } },
    /each of the 17 samples/,
  ],
  [
    'arranged channels for stored ranges',
    { activations: { ranges: 'timestep', groupSize: null, channelOrder: 'alike' } },
    /channels are arranged for dynamic ranges in groups/,
  ],
  [
    'arranged channels without groups',
    { activations: { ranges: 'dynamic', groupSize: null, channelOrder: 'alike' } },
    /channels are arranged for dynamic ranges in groups/,
  ],
  ['a rewrite that is named twice', { transforms: ['smooth', 'smooth'] }, /transforms names something twice/],
  [
    'a correction that is named twice',
    { corrections: ['norm-tweak', 'norm-tweak'] },
    /corrections names something twice/,
  ],
  ['waves of more blocks than one payload refers to', { reconstruction: { enabled: true, wave: 65 } }, /wave/],
];

describe('a recipe is refused when it is read', () => {
  it.each(REFUSED)('for %s', (_, recipe, message) => {
    const { success, error } = recipeSchema.safeParse(recipe);
    expect(success).toBe(false);
    const said = error?.issues.map((issue) => `${issue.path.join('.')} ${issue.message}`).join('\n') ?? '';
    expect(said).toMatch(message);
  });

  it('and not for the same settings where they mean something', () => {
    const recipe: RecipeInput = {
      activations: { ...GROUPS, channelOrder: 'alike' },
      sensitivity: { enabled: true, gate: { stop: true } },
      mixedPrecision: { method: 'greedy' },
      calibration: { strategy: 'density-variety', trajectories: 32, samples: 16 },
      reconstruction: { enabled: true, wave: 64 },
    };
    expect(recipeSchema.safeParse(recipe).error?.issues).toBeUndefined();
  });
});
