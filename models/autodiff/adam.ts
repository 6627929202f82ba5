import type { Graph } from '../onnx/graph.js';
import { elementCount } from '../tensors/tensor.js';
import { fp8Offset, readFp8, writeFp8 } from './fp8-state.js';
import { StateWriter } from './state-writer.js';

/**
 * Adam (Kingma & Ba 2015, "Adam: A Method for Stochastic Optimization", algorithm 1, with the reordering of its section 2):
 *   m ← m + (1 − β₁)·(g − m)        v ← v + (1 − β₂)·(g² − v)
 *   a = lr · √(1 − β₂ᵗ) / (1 − β₁ᵗ)   ε' = ε · √(1 − β₂ᵗ)
 *   p ← p − a · m / (√v + ε')
 * which equals p − lr · m̂ / (√v̂ + ε) with m̂ = m/(1 − β₁ᵗ), v̂ = v/(1 − β₂ᵗ): the same update as torch.optim.Adam without
 * weight decay. t counts from 1. Everything in float32, twelve nodes a parameter.
 */
export interface AdamParameter {
  /** Graph input holding the parameter. */
  readonly name: string;
  /** Value holding its gradient. */
  readonly gradient: string;
  readonly dims: readonly number[];
  /** Scalar float32 graph input; added when the graph does not have it. Parameters may share one. */
  readonly learningRate: string;
}

export interface AdamOptions {
  readonly beta1?: number;
  readonly beta2?: number;
  readonly epsilon?: number;
  /** Name of the scalar float32 input that counts steps from 1; default `adam.step`. */
  readonly step?: string;
  /** How m and v are kept between steps; default float32. fp8: see fp8-state.ts; small parameters stay in float32. */
  readonly state?: 'float32' | 'fp8';
}

/** Below this, the state of a parameter stays in float32: it is small beside that of the weights. */
export const SMALLEST_FP8_STATE = 1024;

export interface AdamNames {
  /** The step input: the number of this step as a float32 scalar, 1 for the first. */
  readonly step: string;
  /** By parameter: the state's inputs and the outputs that replace parameter and state. */
  readonly parameters: ReadonlyMap<string, AdamStateNames>;
}

export interface AdamStateNames {
  /** Inputs `<name>.m` and `<name>.v`: zeros before the first step. */
  readonly m: string;
  readonly v: string;
  /** Outputs `<name>.next`, `<name>.m.next`, `<name>.v.next`. */
  readonly next: string;
  readonly mNext: string;
  readonly vNext: string;
  /** All state inputs (zeros before the first step) with the outputs that replace them; fp8 has three for each moment. */
  readonly state: ReadonlyMap<string, string>;
}

/**
 * Appends one Adam step for each parameter: adds inputs for the state, the step and missing learning rates, and outputs for
 * the updated parameter and state. Defaults β₁ 0.9, β₂ 0.999, ε 1e-8.
 */
export function appendAdam(graph: Graph, parameters: readonly AdamParameter[], options: AdamOptions = {}): AdamNames {
  const { beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, step = 'adam.step', state = 'float32' } = options;
  const update = new StateWriter(graph);
  update.input(step, []);
  const debias = (beta: number, name: string) =>
    update.write('Sub', [update.number(1), update.write('Pow', [update.number(beta), step], `${name}.power`)], name);
  const correction1 = debias(beta1, 'adam.correction1');
  const root2 = update.write('Sqrt', [debias(beta2, 'adam.correction2')], 'adam.root_correction2');
  const ratio = update.write('Div', [root2, correction1], 'adam.ratio');
  const shared: SharedValues = {
    rest1: update.number(1 - beta1),
    rest2: update.number(1 - beta2),
    epsilon: update.write('Mul', [update.number(epsilon), root2], 'adam.epsilon'),
    rate: new Map(),
    fp8Offset: state === 'fp8' ? fp8Offset(update, step) : null,
  };
  for (const { learningRate } of parameters) {
    if (shared.rate.has(learningRate)) continue;
    update.input(learningRate, []);
    shared.rate.set(learningRate, update.write('Mul', [learningRate, ratio], `adam.rate.${learningRate}`));
  }
  const names = new Map(parameters.map((parameter) => [parameter.name, appendParameter(update, parameter, shared)]));
  graph.insertNodes(update.nodes);
  return { step, parameters: names };
}

interface SharedValues {
  readonly rest1: string;
  readonly rest2: string;
  readonly epsilon: string;
  /** Learning rate with both bias corrections, by learning-rate input. */
  readonly rate: Map<string, string>;
  /** What fp8 codes are rounded with; null keeps the state in float32. */
  readonly fp8Offset: string | null;
}

/** A moment that is read at the beginning of the step and written at its end. */
interface Moment {
  readonly name: string;
  readonly value: string;
  /** Writes the new value, which float32 nodes compute as the output of `opType`; returns it. */
  readonly replace: (opType: string, inputs: string[]) => string;
  readonly updates: Map<string, string>;
}

function momentOf(update: StateWriter, name: string, dims: readonly number[], offset: string | null): Moment {
  const updates = new Map<string, string>();
  if (offset === null || elementCount(dims) < SMALLEST_FP8_STATE) {
    update.input(name, dims);
    const replace = (opType: string, inputs: string[]) => {
      updates.set(name, `${name}.next`);
      return update.output(opType, inputs, `${name}.next`, dims);
    };
    return { name, value: name, replace, updates };
  }
  const value = readFp8(update, name, dims);
  const replace = (opType: string, inputs: string[]) => {
    const fresh = update.write(opType, inputs, `${name}.new`);
    const { codes, largest, power } = writeFp8(update, name, fresh, dims, offset);
    updates.set(name, codes).set(`${name}.max`, largest).set(`${name}.power`, power);
    return fresh;
  };
  return { name, value, replace, updates };
}

function appendParameter(update: StateWriter, parameter: AdamParameter, shared: SharedValues): AdamStateNames {
  const { name, gradient: g, dims } = parameter;
  const [m, v] = ['m', 'v'].map((moment) => momentOf(update, `${name}.${moment}`, dims, shared.fp8Offset)) as [
    Moment,
    Moment,
  ];
  const average = (moment: Moment, fresh: string, rest: string) => {
    const difference = update.write('Sub', [fresh, moment.value], `${moment.name}.change`);
    return moment.replace('Add', [moment.value, update.write('Mul', [difference, rest], `${moment.name}.part`)]);
  };
  const first = average(m, g, shared.rest1);
  const second = average(v, update.write('Mul', [g, g], `${name}.square`), shared.rest2);
  const root = update.write('Sqrt', [second], `${name}.root`);
  const spread = update.write('Add', [root, shared.epsilon], `${name}.spread`);
  const direction = update.write('Div', [first, spread], `${name}.direction`);
  const rate = shared.rate.get(parameter.learningRate) ?? parameter.learningRate;
  const change = update.write('Mul', [direction, rate], `${name}.change`);
  const next = update.output('Sub', [name, change], `${name}.next`, dims);
  const state = new Map([...m.updates, ...v.updates]);
  const [mNext = '', vNext = ''] = [m, v].map((moment) => state.get(moment.name));
  return { m: m.name, v: v.name, next, mNext, vNext, state };
}
