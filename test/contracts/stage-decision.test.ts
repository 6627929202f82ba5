import { describe, expect, it } from 'vitest';
import { decisionText, type StageDecision } from '../../contracts/stage-decision.js';

const decision = (change: Partial<StageDecision>): StageDecision => ({
  ...{
    key: 'k',
    outcome: 'changed',
    since: '2026-11-24T08:30:00.000Z',
    differences: [],
    moreDifferences: 0,
    equal: null,
  },
  ...change,
});

describe('why a stage was run, in words', () => {
  it('names settings by their values and artifacts as others', () => {
    const differences = [
      { path: 'recipe.calibration.timesteps', was: '20', is: '10' },
      { path: 'plan', was: 'plan 442cd3a83853', is: 'plan 4e14c6c64abd' },
    ];
    expect(decisionText(decision({ differences, moreDifferences: 3 }))).toBe(
      'run, because recipe.calibration.timesteps was 20, is 10; its plan is another (442cd3a83853, is 4e14c6c64abd) and 3 more (nearest earlier result of 2026-11-24 08:30Z)',
    );
  });

  it('says of a repeated stage what came out', () => {
    const text = (equal: boolean | null): string => decisionText(decision({ outcome: 'asked', equal }));
    expect(text(true)).toBe('run, because it was asked for; the same bytes came out');
    expect(text(false)).toBe('run, because it was asked for; other bytes came out');
    expect(text(null)).toBe('run, because it was asked for');
  });

  it('tells nothing stored from what is stored and not whole', () => {
    expect(decisionText(decision({ outcome: 'first', since: null }))).toBe(
      'run, because no result of this stage is stored',
    );
    expect(decisionText(decision({ outcome: 'lost' }))).toBe(
      'run, because what the result of 2026-11-24 08:30Z made is not whole any more',
    );
    expect(decisionText(decision({ outcome: 'reused' }))).toBe(
      'reused: the result of 2026-11-24 08:30Z has the same key',
    );
  });
});
