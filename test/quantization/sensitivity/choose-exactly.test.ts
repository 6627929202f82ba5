import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type ChoiceProblem,
  costsOf,
  errorOf,
  isAffordable,
} from '../../../quantization/sensitivity/choice-problem.js';
import { chooseExactly } from '../../../quantization/sensitivity/choose-exactly.js';
import { chooseGreedily } from '../../../quantization/sensitivity/choose-greedily.js';
import { LagrangianBound } from '../../../quantization/sensitivity/lagrangian-bound.js';

/** Sums of the same few errors in another order. */
const ROUNDING = 1e-9;

/** Small enough to try every choice: at most 4⁵ of them. */
function problems(budgets: number): fc.Arbitrary<ChoiceProblem> {
  const option = fc.record({
    error: fc.double({ min: 0, max: 1, noNaN: true }),
    costs: fc.array(fc.integer({ min: 0, max: 20 }), { minLength: budgets, maxLength: budgets }),
  });
  const group = fc.array(option, { minLength: 1, maxLength: 4 });
  return fc.record({
    groups: fc.array(group, { minLength: 1, maxLength: 5 }),
    budgets: fc.array(fc.integer({ min: 1, max: 60 }), { minLength: budgets, maxLength: budgets }),
  });
}

function everyChoice({ groups }: ChoiceProblem): number[][] {
  return groups.reduce<number[][]>(
    (choices, options) => choices.flatMap((choice) => options.map((_, index) => [...choice, index])),
    [[]],
  );
}

/** The smallest affordable error; null when nothing is affordable. */
function smallestError(problem: ChoiceProblem): number | null {
  const errors = everyChoice(problem)
    .filter((choice) => isAffordable(costsOf(problem, choice), problem.budgets))
    .map((choice) => errorOf(problem, choice));
  return errors.length === 0 ? null : Math.min(...errors);
}

describe.each([1, 2])('with %i budgets', (budgets) => {
  it('the exact choice has the smallest error of all affordable ones', async () => {
    await fc.assert(
      fc.asyncProperty(problems(budgets), async (problem) => {
        const found = await chooseExactly(problem);
        const smallest = smallestError(problem);
        if (smallest === null) {
          expect(found).toBeNull();
          return;
        }
        expect(found?.isOptimal).toBe(true);
        expect(isAffordable(costsOf(problem, found?.choice ?? []), problem.budgets)).toBe(true);
        expect(errorOf(problem, found?.choice ?? [])).toBeLessThanOrEqual(smallest + ROUNDING);
      }),
      { numRuns: 400, seed: 1 },
    );
  });

  it('a list that is too short gives an affordable choice and a true bound', async () => {
    await fc.assert(
      fc.asyncProperty(problems(budgets), async (problem) => {
        const found = await chooseExactly(problem, { listLengths: [2] });
        const smallest = smallestError(problem);
        if (smallest === null || found === null) return;
        expect(isAffordable(costsOf(problem, found.choice), problem.budgets)).toBe(true);
        expect(found.lowerBound).toBeLessThanOrEqual(smallest + ROUNDING);
        if (found.isOptimal) expect(errorOf(problem, found.choice)).toBeLessThanOrEqual(smallest + ROUNDING);
      }),
      { numRuns: 400, seed: 2 },
    );
  });

  it('the greedy choice is affordable, and no single change that is affordable would be better', () => {
    fc.assert(
      fc.property(problems(budgets), (problem) => {
        const choice = chooseGreedily(problem);
        if (choice === null) return;
        expect(isAffordable(costsOf(problem, choice), problem.budgets)).toBe(true);
        const error = errorOf(problem, choice);
        for (const [group, options] of problem.groups.entries()) {
          for (const option of options.keys()) {
            const changed = choice.map((one, at) => (at === group ? option : one));
            if (!isAffordable(costsOf(problem, changed), problem.budgets)) continue;
            expect(errorOf(problem, changed)).toBeGreaterThanOrEqual(error - ROUNDING);
          }
        }
      }),
      { numRuns: 400, seed: 3 },
    );
  });

  it('the Lagrangian bound is below every affordable choice', () => {
    fc.assert(
      fc.property(problems(budgets), (problem) => {
        const smallest = smallestError(problem);
        if (smallest === null) return;
        const bound = new LagrangianBound(problem).of(0, { error: 0, costs: problem.budgets.map(() => 0) });
        expect(bound).toBeLessThanOrEqual(smallest + ROUNDING);
      }),
      { numRuns: 400, seed: 4 },
    );
  });
});

describe('choices', () => {
  it('greedy spends where an error costs least, and misses what only a wider look finds', async () => {
    const raise = (error: number, cost: number) => [
      { error, costs: [0] },
      { error: 0, costs: [cost] },
    ];
    const problem = { groups: [raise(6, 5), raise(5, 5), raise(8, 6)], budgets: [10] };
    expect(chooseGreedily(problem)).toEqual([0, 0, 1]);
    expect(await chooseExactly(problem)).toEqual({ choice: [1, 1, 0], isOptimal: true, lowerBound: 8 });
  });

  it('more budgets than the exact method keeps are refused', async () => {
    await expect(chooseExactly({ groups: [[{ error: 0, costs: [1, 1, 1] }]], budgets: [1, 1, 1] })).rejects.toThrow(
      /at most 2/,
    );
  });
});
