import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { unsupportedOperators } from '../../../models/autodiff/build-backward.js';
import { makeTrainable } from '../../../models/autodiff/trainable-inputs.js';
import { readModel } from '../../../models/onnx/model-proto.js';
import { tensorFromNpy } from '../../../models/tensors/npy.js';
import type { Tensor } from '../../../models/tensors/tensor.js';
import { appendMeanSquare, differentiate, maxAbs, maxAbsDifference, runGraph } from './train-graph.js';

const GOLDEN = join(import.meta.dirname, '../../golden/gradients');

/** float32 torch is within 1e-6 of its own float64 run; the rest is room for another order of summation (golden README). */
const RELATIVE_TOLERANCE = 1e-4;
const ABSOLUTE_TOLERANCE = 1e-7;
/** Gradients that vanish analytically hold only rounding noise of terms of order 1 (golden README). */
const VANISHING_TOLERANCE = 1e-6;

interface GoldenCase {
  readonly inputs: Readonly<Record<string, number[]>>;
  readonly parameters: Readonly<Record<string, number[]>>;
  readonly loss_f64: number;
  readonly analytically_zero_gradients: readonly string[];
}

const CASES = readdirSync(GOLDEN, { withFileTypes: true })
  .filter((entry) => entry.isDirectory() && entry.name !== 'lsq')
  .map((entry) => entry.name);

function npy(...path: string[]): Tensor {
  return tensorFromNpy(readFileSync(join(GOLDEN, ...path)));
}

describe('gradients of torch', () => {
  it('covers all twelve graphs', () => expect(CASES).toHaveLength(12));

  it.each(CASES)('%s: every parameter and input gradient agrees with float64 autograd', async (name) => {
    const facts = JSON.parse(readFileSync(join(GOLDEN, name, 'case.json'), 'utf8')) as GoldenCase;
    const graph = readModel(readFileSync(join(GOLDEN, name, 'model.onnx')));
    const output = graph.outputs[0]?.name ?? '';
    const parameters = Object.keys(facts.parameters);
    const feeds = new Map([...makeTrainable(graph, parameters)]);
    for (const input of Object.keys(facts.inputs)) feeds.set(input, npy(name, 'inputs', `${input}.npy`));
    appendMeanSquare(graph, output);
    const wrt = [...parameters, ...Object.keys(facts.inputs)];
    expect(unsupportedOperators(graph, 'loss', wrt)).toEqual([]);
    const gradients = differentiate(graph, wrt, facts.inputs);

    const results = await runGraph(graph, feeds);

    expect(Math.abs((results.get('loss')?.data[0] as number) - facts.loss_f64)).toBeLessThan(
      RELATIVE_TOLERANCE * facts.loss_f64,
    );
    for (const value of wrt) {
      const kind = parameters.includes(value) ? 'param' : 'input';
      const expected = npy(name, 'grads_f64', `${kind}.${value}.npy`).data as Float64Array;
      const actual = results.get(gradients.get(value) ?? '')?.data as Float32Array;
      const tolerance = facts.analytically_zero_gradients.includes(value)
        ? VANISHING_TOLERANCE
        : RELATIVE_TOLERANCE * maxAbs(expected) + ABSOLUTE_TOLERANCE;
      expect(maxAbsDifference(actual, expected), `gradient of ${value}`).toBeLessThanOrEqual(tolerance);
    }
  });
});
