import { describe, expect, it } from 'vitest';
import { type AdamParameter, appendAdam } from '../../../models/autodiff/adam.js';
import { gaussianTensor } from '../../../models/tensors/random.js';
import { float32, type Tensor, zeros } from '../../../models/tensors/tensor.js';
import { graphOf, maxAbs, maxAbsDifference, openGraph } from './train-graph.js';

/** Twelve float32 operations a step, each within 2⁻²⁴ of exact: five steps stay well within this. */
const RELATIVE_TOLERANCE = 1e-5;

const STEPS = 5;
const RATES = { 'rate.weights': 1e-2, 'rate.scales': 3e-4 };

interface State {
  p: Float64Array;
  m: Float64Array;
  v: Float64Array;
}

/** Kingma & Ba 2015, algorithm 1, word for word and in double precision. */
function referenceStep(
  state: State,
  g: Float32Array,
  t: number,
  rate: number,
  beta1: number,
  beta2: number,
  eps: number,
) {
  for (const [index, gradient] of g.entries()) {
    const m = beta1 * (state.m[index] ?? 0) + (1 - beta1) * gradient;
    const v = beta2 * (state.v[index] ?? 0) + (1 - beta2) * gradient * gradient;
    const mHat = m / (1 - beta1 ** t);
    const vHat = v / (1 - beta2 ** t);
    state.p[index] = (state.p[index] ?? 0) - (rate * mHat) / (Math.sqrt(vHat) + eps);
    state.m[index] = m;
    state.v[index] = v;
  }
}

describe('Adam as ONNX nodes', () => {
  it.each([
    { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 },
    { beta1: 0.5, beta2: 0.9, epsilon: 1e-2 },
  ])('follows the algorithm in double precision over five steps (%o)', async (options) => {
    const shapes = { weight: [4, 3], scale: [] as number[] };
    const graph = graphOf({ ...shapes, 'g.weight': [4, 3], 'g.scale': [] });
    const parameters: AdamParameter[] = [
      { name: 'weight', gradient: 'g.weight', dims: shapes.weight, learningRate: 'rate.weights' },
      { name: 'scale', gradient: 'g.scale', dims: shapes.scale, learningRate: 'rate.scales' },
    ];
    const names = appendAdam(graph, parameters, options);
    const session = await openGraph(graph);
    const feeds = new Map<string, Tensor>(Object.entries(RATES).map(([name, rate]) => [name, float32([], [rate])]));
    const reference = new Map<string, State>();
    for (const [stream, { name, dims }] of parameters.entries()) {
      const start = gaussianTensor(7, stream, dims);
      const state = names.parameters.get(name);
      feeds
        .set(name, start)
        .set(state?.m ?? '', zeros('float32', dims))
        .set(state?.v ?? '', zeros('float32', dims));
      const size = start.data.length;
      reference.set(name, { p: Float64Array.from(start.data), m: new Float64Array(size), v: new Float64Array(size) });
    }
    for (let t = 1; t <= STEPS; t += 1) {
      feeds.set(names.step, float32([], [t]));
      for (const [stream, { gradient, dims }] of parameters.entries()) {
        feeds.set(gradient, gaussianTensor(11, 10 * t + stream, dims));
      }
      const results = await session.run(feeds);
      for (const { name, gradient, learningRate } of parameters) {
        const expected = reference.get(name);
        const state = names.parameters.get(name);
        if (expected === undefined || state === undefined) throw new Error(`no state of ${name}`);
        const rate = RATES[learningRate as keyof typeof RATES];
        const g = feeds.get(gradient)?.data as Float32Array;
        referenceStep(expected, g, t, rate, options.beta1, options.beta2, options.epsilon);
        for (const [output, input, values] of [
          [state.next, name, expected.p],
          [state.mNext, state.m, expected.m],
          [state.vNext, state.v, expected.v],
        ] as const) {
          const actual = results.get(output);
          if (actual === undefined) throw new Error(`no output ${output}`);
          const error = maxAbsDifference(actual.data as Float32Array, values);
          expect(error, `${output} at step ${t}`).toBeLessThanOrEqual(RELATIVE_TOLERANCE * maxAbs(values));
          feeds.set(input, actual);
        }
      }
    }
    await session.release();
  });

  it('moves every element by the learning rate in the first step, whatever the size of the gradient', async () => {
    const graph = graphOf({ p: [3], g: [3] });
    const names = appendAdam(graph, [{ name: 'p', gradient: 'g', dims: [3], learningRate: 'rate' }]);
    const state = names.parameters.get('p');
    const session = await openGraph(graph);
    const results = await session.run(
      new Map<string, Tensor>([
        ['p', float32([3], [1, 1, 1])],
        ['g', float32([3], [1e-3, -5, 1e4])],
        ['p.m', zeros('float32', [3])],
        ['p.v', zeros('float32', [3])],
        [names.step, float32([], [1])],
        ['rate', float32([], [0.125])],
      ]),
    );
    await session.release();
    const moved = results.get(state?.next ?? '')?.data as Float32Array;
    expect(maxAbsDifference(moved, [0.875, 1.125, 0.875])).toBeLessThan(RELATIVE_TOLERANCE * 2);
  });

  it('shares one learning-rate input and one step input between parameters', () => {
    const graph = graphOf({ a: [2], b: [2], ga: [2], gb: [2] });
    appendAdam(graph, [
      { name: 'a', gradient: 'ga', dims: [2], learningRate: 'rate' },
      { name: 'b', gradient: 'gb', dims: [2], learningRate: 'rate' },
    ]);
    const names = graph.inputs.map((input) => input.name);
    expect(names).toEqual(['a', 'b', 'ga', 'gb', 'adam.step', 'rate', 'a.m', 'a.v', 'b.m', 'b.v']);
    expect(graph.outputs.map((output) => output.name)).toEqual([
      'a.m.next',
      'a.v.next',
      'a.next',
      'b.m.next',
      'b.v.next',
      'b.next',
    ]);
  });
});
