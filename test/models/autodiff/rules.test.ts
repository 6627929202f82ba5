import { describe, expect, it } from 'vitest';
import { RULES } from '../../../models/autodiff/rules.js';
import { node } from '../../../models/onnx/graph.js';
import { inferShapes } from '../../../models/onnx/shape-inference.js';
import { elementCount, float32, type Tensor } from '../../../models/tensors/tensor.js';
import { buildCase } from './build-case.js';
import {
  analyticDerivative,
  type Differences,
  FLOAT32,
  FLOAT64,
  lossFunction,
  lossWeights,
  moved,
  NO_FLOAT64_KERNEL,
  numericDerivative,
  signs,
} from './central-differences.js';
import type { RuleCase } from './rule-cases/rule-case.js';
import { RULE_CASES } from './rule-cases.js';
import { addConstant, appendWeightedSum, differentiate, graphOf, runGraph } from './train-graph.js';

/** Directions per input. */
const DIRECTIONS = 3;

/** Compares the gradient of every input with central differences. */
async function check(ruleCase: RuleCase, differences: Differences): Promise<void> {
  const built = buildCase(ruleCase, differences.type);
  const weights = lossWeights(differences.type, built.graph, built.outputs);
  const loss = await lossFunction(built.graph, weights);
  const training = built.graph.clone();
  const outputs = built.outputs.map((name) => {
    if (inferShapes(built.graph).typeOf(name) === differences.type) return name;
    training.insertNodes([node('CastLike', [name, 'x0'], [`${name}.back`], { name: `${name}.back` })]);
    return `${name}.back`;
  });
  appendWeightedSum(training, new Map(outputs.map((name, index) => [name, weightAt(weights, index)])));
  const gradients = differentiate(training, built.wrt);
  const results = await runGraph(training, built.feeds, 'disabled');
  for (const [stream, name] of built.wrt.entries()) {
    const gradient = results.get(gradients.get(name) ?? '');
    expect(gradient?.dims).toEqual(built.feeds.get(name)?.dims);
    const values = gradient?.data as Float64Array;
    for (let index = 0; index < DIRECTIONS; index += 1) {
      const direction = signs(10 * stream + index, values.length);
      const lossAt = (step: number) => loss.evaluate(moved(built.feeds, name, direction, step));
      const numeric = await numericDerivative(lossAt, differences.step);
      const { derivative, magnitude } = analyticDerivative(values, direction);
      expect(Math.abs(numeric - derivative), `${name}: ${numeric} against ${derivative}`).toBeLessThanOrEqual(
        differences.tolerance * (magnitude + 1),
      );
    }
  }
  await loss.release();
}

function weightAt(weights: ReadonlyMap<string, Tensor>, index: number): Tensor {
  const weight = [...weights.values()][index];
  if (weight === undefined) throw new Error(`no weight ${index}`);
  return weight;
}

describe('vector-Jacobian rules', () => {
  it('has a case for every operator of the table but Round, which is straight-through', () => {
    const covered = new Set([...RULE_CASES.map((ruleCase) => ruleCase.opType), 'Round']);
    expect([...RULES.keys()].filter((opType) => !covered.has(opType))).toEqual([]);
  });

  it.each(RULE_CASES.map((ruleCase) => [ruleCase.title, ruleCase] as const))(
    '%s agrees with central differences',
    (_, ruleCase) => check(ruleCase, FLOAT32),
  );
});

describe('vector-Jacobian rules in double precision', () => {
  const doubles = RULE_CASES.filter(
    ({ opType, float32Because }) => !NO_FLOAT64_KERNEL.has(opType) && float32Because === undefined,
  );
  it.each(doubles.map((ruleCase) => [ruleCase.title, ruleCase] as const))(
    '%s agrees with central differences',
    (_, ruleCase) => check(ruleCase, FLOAT64),
  );

  it.each([...NO_FLOAT64_KERNEL])('%s really has no float64 kernel', async (opType) => {
    const ruleCase = RULE_CASES.find(
      (candidate) => candidate.opType === opType && candidate.float32Because === undefined,
    );
    if (ruleCase === undefined) throw new Error(`no case of ${opType}`);
    await expect(check(ruleCase, FLOAT64)).rejects.toThrow(/not find an implementation|is invalid/);
  });
});

describe('rules that differences cannot check', () => {
  /** dLoss/dx for loss = Σ weight · op(x). */
  async function gradientOf(opType: string, inputs: string[], x: Tensor, constants: Record<string, Tensor>) {
    const graph = graphOf({ x: x.dims });
    for (const [name, value] of Object.entries(constants)) addConstant(graph, name, value);
    graph.insertNodes([node(opType, inputs, ['y'], { name: 'op' })]);
    const dims = inferShapes(graph).dimsOf('y');
    const ramp = Float32Array.from({ length: elementCount(dims) }, (_, index) => index + 1);
    appendWeightedSum(graph, new Map([['y', float32(dims, ramp)]]));
    const gradients = differentiate(graph, ['x']);
    const results = await runGraph(graph, new Map([['x', x]]));
    return Array.from(results.get(gradients.get('x') ?? '')?.data as Float32Array);
  }

  it('Round passes the gradient on unchanged', async () => {
    expect(await gradientOf('Round', ['x'], float32([4], [-1.5, 0.2, 0.5, 3.7]), {})).toEqual([1, 2, 3, 4]);
  });

  it('Clip counts its bounds as inside', async () => {
    const bounds = { low: float32([], [-1]), high: float32([], [2]) };
    const x = float32([5], [-1.5, -1, 0, 2, 2.5]);
    expect(await gradientOf('Clip', ['x', 'low', 'high'], x, bounds)).toEqual([0, 2, 3, 4, 0]);
  });

  it('ReduceMax gives equal maxima equal shares', async () => {
    expect(await gradientOf('ReduceMax', ['x'], float32([5], [3, 1, 3, 0, 3]), {})).toEqual(
      [1, 0, 1, 0, 1].map((hit) => Math.fround(hit / 3)),
    );
  });

  it('Max gives a tie to its first input', async () => {
    const other = { c: float32([3], [1, 1, 1]) };
    expect(await gradientOf('Max', ['x', 'c'], float32([3], [0, 1, 2]), other)).toEqual([0, 2, 3]);
    expect(await gradientOf('Max', ['c', 'x'], float32([3], [0, 1, 2]), other)).toEqual([0, 0, 3]);
  });

  it('Gather from a table too large for a one-hot matrix scatters', async () => {
    const rows = 1 << 21;
    const graph = graphOf({ x: [rows] }, 18);
    graph.inputs.push({ name: 'i', type: 'int64', shape: [3] });
    graph.insertNodes([node('Gather', ['x', 'i'], ['y'], { name: 'op' })]);
    appendWeightedSum(graph, new Map([['y', float32([3], [1, 2, 4])]]));
    const gradients = differentiate(graph, ['x']);
    expect(graph.nodes.map((made) => made.opType)).toContain('ScatterElements');
    const feeds = new Map<string, Tensor>([
      ['x', float32([rows], new Float32Array(rows))],
      ['i', { type: 'int64', dims: [3], data: BigInt64Array.of(7n, BigInt(rows - 1), 7n) }],
    ]);
    const results = await runGraph(graph, feeds);
    const values = results.get(gradients.get('x') ?? '')?.data as Float32Array;
    expect([values[7], values[rows - 1], values.reduce((sum, value) => sum + value, 0)]).toEqual([5, 2, 7]);
  });
});
