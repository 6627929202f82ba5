import { describe, expect, it } from 'vitest';
import { unsupportedOperators } from '../../../models/autodiff/build-backward.js';
import { upgradeOpset } from '../../../models/onnx/upgrade-opset.js';
import { type BuiltCase, buildCase } from './build-case.js';
import { lossWeights } from './central-differences.js';
import type { RuleCase } from './rule-cases/rule-case.js';
import { RULE_CASES } from './rule-cases.js';
import { appendWeightedSum, differentiate, maxAbs, maxAbsDifference, runGraph } from './train-graph.js';

/** Two forms of the same float32 arithmetic differ by the order of sums at most. */
const TOLERANCE = 1e-6;

/** Opsets in which operators, or the attributes that cases use, appeared; everything else is as old as 13. */
const SINCE: Readonly<Record<string, number>> = {
  CastLike: 15,
  HardSwish: 14,
  LayerNormalization: 17,
  Trilu: 14,
};

/** Cases whose operators, and the ones of their gradients, look different in 11 and 12 or are not there. */
const OPSET_11 = [
  'Max of equal dims',
  'Min with a broadcast second input',
  'Concat',
  'Mul of a value with itself',
  'Clip',
  'Where',
];

function reduces({ attributes = {} }: RuleCase): boolean {
  return attributes.reduction !== undefined;
}

async function gradientsAt(ruleCase: RuleCase, change: (built: BuiltCase) => void) {
  const built = buildCase(ruleCase, 'float32');
  const weights = lossWeights('float32', built.graph, built.outputs);
  change(built);
  appendWeightedSum(built.graph, weights);
  const gradients = differentiate(built.graph, built.wrt);
  const results = await runGraph(built.graph, built.feeds, 'disabled');
  return built.wrt.map((name) => results.get(gradients.get(name) ?? '')?.data as Float32Array);
}

async function expectSame(ruleCase: RuleCase, change: (built: BuiltCase) => void): Promise<void> {
  const expected = await gradientsAt(ruleCase, () => {});
  for (const [index, actual] of (await gradientsAt(ruleCase, change)).entries()) {
    const reference = expected[index] ?? [];
    expect(maxAbsDifference(actual, reference)).toBeLessThanOrEqual(TOLERANCE * (maxAbs(reference) + 1));
  }
}

const titled = (cases: readonly RuleCase[]) => cases.map((ruleCase) => [ruleCase.title, ruleCase] as const);
const plain = RULE_CASES.filter(
  ({ opset, outputs, opType }) => opset === undefined && outputs === undefined && opType !== 'Cast',
);
const overlapping = plain.filter(({ opType, title }) => opType === 'MaxPool' && !title.endsWith('2×2'));
const old = plain.filter(
  (ruleCase) => (SINCE[ruleCase.opType] ?? 13) <= 13 && !reduces(ruleCase) && !overlapping.includes(ruleCase),
);

describe('gradients in other opsets', () => {
  it.each(titled(old))('%s is the same at opset 13', (_, ruleCase) =>
    expectSame(ruleCase, ({ graph }) => {
      graph.opset = 13;
    }),
  );

  it.each(titled(plain))('%s is the same when raised to opset 21', (_, ruleCase) =>
    expectSame(ruleCase, ({ graph }) => upgradeOpset(graph)),
  );

  it.each(titled(RULE_CASES.filter(({ title }) => OPSET_11.includes(title))))(
    '%s is the same at opset 11',
    (_, ruleCase) =>
      expectSame(ruleCase, ({ graph }) => {
        graph.opset = 11;
      }),
  );

  it('refuses overlapping maxima where nothing can add them up', () => {
    for (const ruleCase of overlapping) {
      const { graph, wrt } = buildCase(ruleCase, 'float32');
      graph.opset = 13;
      expect(unsupportedOperators(graph, 'y0', wrt)).toEqual([
        'MaxPool with overlapping windows before opset 16 (1 node: op)',
      ]);
    }
    expect(overlapping.length).toBeGreaterThan(0);
  });
});
