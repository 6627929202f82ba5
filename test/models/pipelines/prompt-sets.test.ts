import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { NibbleflowError } from '../../../contracts/errors.js';
import { checkDisjoint, drawPromptSets, normalizedPrompt } from '../../../models/pipelines/prompt-sets.js';
import { projectJson } from './pipeline-folder.js';

const BUNDLED = projectJson<{ prompt: string }[]>('models/zoo/emoji-reference/prompts.json').map(
  ({ prompt }) => prompt,
);
const numbered = (count: number): string[] => Array.from({ length: count }, (_, i) => `prompt ${i}`);

function failureOf(action: () => unknown): NibbleflowError {
  try {
    action();
  } catch (error) {
    if (error instanceof NibbleflowError) return error;
    throw error;
  }
  throw new Error('expected a failure');
}

describe('drawPromptSets', () => {
  it('draws disjoint sets of different texts from the bundled captions, the same ones every time', () => {
    const draw = { prompts: BUNDLED, evaluation: null, evaluationCount: 256, calibrationCount: 128, seed: 1 };
    const sets = drawPromptSets(draw);
    const all = [...sets.evaluation, ...sets.calibration].map(normalizedPrompt);
    expect(sets.evaluation.length).toBe(256);
    expect(sets.calibration.length).toBe(128);
    expect(new Set(all).size).toBe(384);
    expect(() => checkDisjoint(sets)).not.toThrow();
    expect(drawPromptSets(draw)).toEqual(sets);
    expect(drawPromptSets({ ...draw, seed: 2 })).not.toEqual(sets);
  });

  it('keeps the evaluation when more prompts are calibrated on', () => {
    const draw = { prompts: numbered(50), evaluation: null, evaluationCount: 10, seed: 3 };
    const small = drawPromptSets({ ...draw, calibrationCount: 5 });
    const large = drawPromptSets({ ...draw, calibrationCount: 40 });
    expect(large.evaluation).toEqual(small.evaluation);
    expect(large.calibration.slice(0, 5)).toEqual(small.calibration);
  });

  it('never calibrates on a given evaluation prompt, however it is written, even beyond the evaluated ones', () => {
    const evaluation = ['  PROMPT   1', 'Prompt 2 ', 'prompt 3'];
    const sets = drawPromptSets({ prompts: numbered(6), evaluation, evaluationCount: 2, calibrationCount: 3, seed: 0 });
    expect(sets.evaluation).toEqual(evaluation.slice(0, 2));
    expect([...sets.calibration].sort()).toEqual(['prompt 0', 'prompt 4', 'prompt 5']);
  });

  it('counts texts that differ in case and spaces once and ignores empty ones', () => {
    const prompts = ['a cat', 'A  cat', ' a cat ', '', '  ', 'a dog'];
    const sets = drawPromptSets({ prompts, evaluation: null, evaluationCount: 1, calibrationCount: 1, seed: 0 });
    expect([...sets.evaluation, ...sets.calibration].sort()).toEqual(['a cat', 'a dog']);
  });

  it('says how many prompts are needed when there are too few', () => {
    const draw = { prompts: numbered(9), evaluation: null, evaluationCount: 4, calibrationCount: 6, seed: 0 };
    const failure = failureOf(() => drawPromptSets(draw));
    expect(failure.kind).toBe('InvalidRecipe');
    expect(failure.message).toContain('9 different');
    expect(failure.message).toContain('at least 10');
    const short = failureOf(() => drawPromptSets({ ...draw, evaluation: ['x'] }));
    expect(short.message).toContain('evaluation needs 4');
    const left = failureOf(() => drawPromptSets({ ...draw, evaluation: numbered(4) }));
    expect(left.message).toContain('calibration needs 6');
  });

  it('is disjoint for any texts, or refuses', () => {
    const texts = fc.array(fc.stringMatching(/^[aB ]{0,4}$/), { maxLength: 30 });
    fc.assert(
      fc.property(texts, fc.option(texts), fc.nat(6), fc.nat(6), fc.nat(), (prompts, evaluation, e, c, seed) => {
        try {
          const sets = drawPromptSets({ prompts, evaluation, evaluationCount: e, calibrationCount: c, seed });
          expect(sets.calibration.length).toBe(c);
          expect(sets.evaluation.length).toBe(e);
          checkDisjoint(sets);
        } catch (error) {
          expect((error as NibbleflowError).message).toContain('too few prompts');
        }
      }),
    );
  });
});

describe('checkDisjoint', () => {
  it('names a shared text', () => {
    const failure = failureOf(() => checkDisjoint({ calibration: ['A  Cat', 'b'], evaluation: ['a cat'] }));
    expect(failure.kind).toBe('InvalidRecipe');
    expect(failure.message).toContain('"a cat"');
  });

  it('accepts the empty texts of models without prompts', () => {
    expect(() => checkDisjoint({ calibration: ['', ''], evaluation: ['', ''] })).not.toThrow();
  });
});
