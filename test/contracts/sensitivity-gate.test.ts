import { describe, expect, it } from 'vitest';
import { recipeSchema } from '../../contracts/recipe.js';
import { gateRefusal, gateText, gateVerdict } from '../../contracts/sensitivity-gate.js';

const { gate } = recipeSchema.parse({}).sensitivity;

describe('the gate', () => {
  it('is fine below its first threshold, doomed above its second, unsure between and on them', () => {
    expect([0.1, 0.15, 0.18, 0.21, 0.22].map((median) => gateVerdict(median, gate))).toEqual([
      'fine',
      'unsure',
      'unsure',
      'unsure',
      'doomed',
    ]);
    expect(gateText(0.3, gate)).toBe(
      'median layer error 0.300 (fine below 0.15, doomed above 0.21): this run is probably doomed',
    );
  });

  it('refuses only doomed runs, and only when it is told to', () => {
    expect(gateRefusal(0.3, gate)).toBeNull();
    expect(gateRefusal(0.2, { ...gate, stop: true })).toBeNull();
    expect(gateRefusal(0.3, { ...gate, stop: true })).toMatch(/doomed.*gate\.stop=false/);
  });
});

describe('mixed precision in a recipe', () => {
  const problems = (change: object): string[] => {
    const result = recipeSchema.safeParse(change);
    return result.success ? [] : result.error.issues.map(({ message }) => message);
  };

  it('is off by default, and needs a scan and a budget', () => {
    expect(recipeSchema.parse({}).mixedPrecision.method).toBe('none');
    expect(problems({ mixedPrecision: { method: 'greedy' } })).toEqual([
      expect.stringMatching(/needs the sensitivity scan/),
    ]);
    const scanned = { sensitivity: { enabled: true } };
    expect(problems({ ...scanned, mixedPrecision: { method: 'greedy' } })).toEqual([]);
    expect(problems({ ...scanned, mixedPrecision: { method: 'greedy', minimumCoverage: null } })).toEqual([
      expect.stringMatching(/without a budget/),
    ]);
    expect(problems({ sensitivity: { enabled: true, bits: [] }, mixedPrecision: { method: 'greedy' } })).toHaveLength(
      1,
    );
  });
});
