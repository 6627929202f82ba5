import { describe, expect, it } from 'vitest';
import { RULES } from '../../../models/autodiff/rules.js';
import { type Graph, node } from '../../../models/onnx/graph.js';
import { inferShapes } from '../../../models/onnx/shape-inference.js';
import { gaussianTensor, permutation, uniforms } from '../../../models/tensors/random.js';
import { elementCount, float32, type Tensor } from '../../../models/tensors/tensor.js';
import { RULE_CASES, type RuleCase } from './rule-cases.js';
import { addConstant, appendWeightedSum, differentiate, graphOf, openGraph, runGraph } from './train-graph.js';

/**
 * Richardson-extrapolated central differences, D = (4·D(h) − D(2h))/3: truncation is h⁴·f⁽⁵⁾/30, below 1e-6 for slopes of
 * order 1; rounding of float32 outputs (2⁻²⁴ relative) divided by h gives 2⁻¹⁸ ≈ 4e-6 of the outputs' total. The step keeps
 * 2·h·√2 below the distance of `apart` values from each other (0.1) and from kinks (0.05 > 2h).
 */
const STEP = 2 ** -6;
const TOLERANCE = 2e-4;
/** Directions per input; each is ±1 in every element, so a wrong element is seen in each. */
const DIRECTIONS = 3;

function valuesFor(kind: RuleCase['values'], stream: number, dims: readonly number[]): Tensor<'float32'> {
  const count = elementCount(dims);
  if (kind === 'apart') {
    const order = permutation(3, stream, count);
    return float32(
      dims,
      Float32Array.from(order, (at) => (at - Math.floor(count / 2)) * 0.1 + 0.05),
    );
  }
  const unit = uniforms(5, stream, count);
  return float32(
    dims,
    Float32Array.from(unit, (u) => (kind === 'positive' ? 0.5 + u : 2 * u - 1)),
  );
}

interface Built {
  readonly graph: Graph;
  readonly feeds: Map<string, Tensor>;
  readonly wrt: readonly string[];
  readonly outputs: readonly string[];
}

function build(ruleCase: RuleCase): Built {
  const feeds = new Map<string, Tensor>();
  const dims: Record<string, readonly number[]> = {};
  const constants = new Map<string, Tensor>();
  const names = ruleCase.inputs.map((input, index) => {
    if (input === null) return '';
    const name = `x${index}`;
    if ('type' in input) constants.set(name, input);
    else {
      dims[name] = input;
      // The second of two `apart` inputs is shifted so that the two are apart from each other as well.
      const shift = ruleCase.values === 'apart' && index > 0 ? 0.05 : 0;
      const values = valuesFor(ruleCase.values, index, input);
      feeds.set(
        name,
        float32(
          input,
          values.data.map((value) => value + shift),
        ),
      );
    }
    return name;
  });
  const graph = graphOf(dims, ruleCase.opset ?? 17);
  for (const [name, value] of constants) addConstant(graph, name, value);
  const outputs = Array.from({ length: ruleCase.outputs ?? 1 }, (_, index) => `y${index}`);
  const inputs = ruleCase.same === true ? [...names, ...names] : names;
  const options = { name: 'op', attributes: { ...ruleCase.attributes } };
  graph.insertNodes([node(ruleCase.opType, inputs, [...outputs], options)]);
  return { graph, feeds, wrt: Object.keys(dims), outputs };
}

/** Σ weight · output in double precision, for the graph before any gradient was added. */
async function lossFunction(built: Built, weights: ReadonlyMap<string, Tensor>) {
  const forward = built.graph.clone();
  const shapes = inferShapes(forward);
  forward.outputs = built.outputs.map((name) => ({ name, type: shapes.typeOf(name), shape: shapes.dimsOf(name) }));
  const session = await openGraph(forward, 'disabled');
  const evaluate = async (feeds: ReadonlyMap<string, Tensor>) => {
    const results = await session.run(feeds);
    let loss = 0;
    for (const [name, weight] of weights) {
      const values = results.get(name)?.data as Float32Array;
      for (const [index, value] of values.entries()) loss += value * (weight.data[index] as number);
    }
    return loss;
  };
  return { evaluate, release: session.release };
}

function moved(feeds: ReadonlyMap<string, Tensor>, name: string, direction: readonly number[], step: number) {
  const start = feeds.get(name);
  if (start === undefined) throw new Error(`no feed for ${name}`);
  const values = Float32Array.from(start.data as Float32Array, (value, at) => value + step * (direction[at] ?? 0));
  return new Map(feeds).set(name, float32(start.dims, values));
}

describe('vector-Jacobian rules', () => {
  it('has a case for every operator of the table but Round, which is straight-through', () => {
    const covered = new Set([...RULE_CASES.map((ruleCase) => ruleCase.opType), 'Round']);
    expect([...RULES.keys()].filter((opType) => !covered.has(opType))).toEqual([]);
  });

  it.each(RULE_CASES.map((ruleCase) => [ruleCase.title, ruleCase] as const))(
    '%s agrees with central differences',
    async (_, ruleCase) => {
      const built = build(ruleCase);
      const shapes = inferShapes(built.graph);
      const weights = new Map(
        built.outputs.map((name, index) => [name, gaussianTensor(9, index, shapes.dimsOf(name))] as const),
      );
      const loss = await lossFunction(built, weights);
      const training = built.graph.clone();
      const typed = new Map<string, Tensor>(weights);
      if (shapes.typeOf('y0') === 'float64') {
        training.insertNodes([
          node('Cast', ['y0'], ['back'], { name: 'back', attributes: { to: { kind: 'int', value: 1 } } }),
        ]);
        typed.set('back', weights.get('y0') ?? float32([], [0])).delete('y0');
      }
      appendWeightedSum(training, typed);
      const gradients = differentiate(training, built.wrt);
      const results = await runGraph(training, built.feeds, 'disabled');
      for (const [stream, name] of built.wrt.entries()) {
        const gradient = results.get(gradients.get(name) ?? '');
        expect(gradient?.dims).toEqual(built.feeds.get(name)?.dims);
        const values = gradient?.data as Float32Array;
        for (let index = 0; index < DIRECTIONS; index += 1) {
          const unit = uniforms(13, 10 * stream + index, values.length);
          const direction = Array.from(unit, (u) => (u < 0.5 ? -1 : 1));
          const difference = async (step: number) => {
            const up = await loss.evaluate(moved(built.feeds, name, direction, step));
            const down = await loss.evaluate(moved(built.feeds, name, direction, -step));
            return (up - down) / (2 * step);
          };
          const numeric = (4 * (await difference(STEP)) - (await difference(2 * STEP))) / 3;
          const analytic = values.reduce((sum, value, at) => sum + value * (direction[at] ?? 0), 0);
          const magnitude = values.reduce((sum, value) => sum + Math.abs(value), 0);
          expect(Math.abs(numeric - analytic), `${name}: ${numeric} against ${analytic}`).toBeLessThanOrEqual(
            TOLERANCE * (magnitude + 1),
          );
        }
      }
      await loss.release();
    },
  );
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
