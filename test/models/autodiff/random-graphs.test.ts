import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RULES } from '../../../models/autodiff/rules.js';
import { NO_FLOAT64_KERNEL } from './central-differences.js';
import { BLOCKS } from './random-graphs/blocks.js';
import { compareRandomGraph, type Step } from './random-graphs/compare-random-graph.js';

/**
 * Not in double precision: operators without a kernel at this opset (their function bodies need Softplus, or older operators), and
 * function bodies that compute scales and statistics in float32.
 */
const SINGLE_ONLY: ReadonlySet<string> = new Set(['Attention', 'GroupNormalization', 'LeakyRelu', 'Mish', 'PRelu']);

const DOUBLE_OPERATORS = Object.keys(BLOCKS).filter(
  (opType) => !NO_FLOAT64_KERNEL.has(opType) && !SINGLE_ONLY.has(opType),
);

/** Graphs of each precision. */
const RUNS = 100;
/** A gradient that is off by this share would be seen… */
const SHARP = 0.02;
/** …in at least this share of the graphs; in the others the derivative is small by itself. */
const SHARP_GRAPHS = 0.8;

function steps(operators: readonly string[]): fc.Arbitrary<Step[]> {
  const step = fc.record({
    operator: fc.constantFrom(...operators),
    source: fc.nat(7),
    choice: fc.nat(11),
  });
  return fc.array(step, { minLength: 2, maxLength: 6 });
}

describe('gradients of random graphs', () => {
  it('use every operator of the table but Round, which is straight-through', () => {
    expect([...RULES.keys()].filter((opType) => BLOCKS[opType] === undefined && opType !== 'Round')).toEqual([]);
  });

  it.each([
    ['double precision', 'float64', DOUBLE_OPERATORS],
    ['single precision, over all operators', 'float32', Object.keys(BLOCKS)],
  ] as const)('agree with central differences in %s', async (_, type, operators) => {
    const sharp: boolean[] = [];
    const property = fc.asyncProperty(steps(operators), fc.nat(1000), async (plan, seed) => {
      const result = await compareRandomGraph(type, plan, seed);
      fc.pre(result !== undefined);
      const { error, tolerance, derivative } = result;
      expect(error).toBeLessThanOrEqual(tolerance);
      sharp.push(tolerance < SHARP * Math.abs(derivative));
    });
    await fc.assert(property, {
      numRuns: RUNS,
      seed: 5,
      interruptAfterTimeLimit: 300_000,
      markInterruptAsFailure: true,
    });
    expect(sharp.filter(Boolean).length).toBeGreaterThan(SHARP_GRAPHS * sharp.length);
  });
});
