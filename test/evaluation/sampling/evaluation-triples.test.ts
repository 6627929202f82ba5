import { describe, expect, it } from 'vitest';
import { evaluationTriples } from '../../../evaluation/sampling/evaluation-triples.js';

const sizes = { images: 8, steps: 5, branches: 2 };

describe('evaluation triples', () => {
  it('are drawn without repetition, in order, within the sizes', () => {
    const triples = evaluationTriples(sizes, 30, 7);
    const keys = triples.map(({ image, step, branch }) => (image * 5 + step) * 2 + branch);
    expect(new Set(keys).size).toBe(30);
    expect(keys).toEqual(keys.toSorted((a, b) => a - b));
    for (const { image, step, branch } of triples) {
      expect(image).toBeLessThan(8);
      expect(step).toBeLessThan(5);
      expect(branch).toBeLessThan(2);
    }
  });

  it('are all there are when more are asked for', () => {
    expect(evaluationTriples(sizes, 1000, 7)).toHaveLength(80);
  });

  it('depend on the seed alone', () => {
    expect(evaluationTriples(sizes, 30, 7)).toEqual(evaluationTriples(sizes, 30, 7));
    expect(evaluationTriples(sizes, 30, 8)).not.toEqual(evaluationTriples(sizes, 30, 7));
  });
});
