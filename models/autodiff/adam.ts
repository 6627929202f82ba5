import { type DataTypeName, type Graph, initializerFromTensor, node } from '../onnx/graph.js';
import { float32 } from '../tensors/tensor.js';

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
}

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
}

/**
 * Appends one Adam step for each parameter: adds inputs for the state, the step and missing learning rates, and outputs for
 * the updated parameter and state. Defaults β₁ 0.9, β₂ 0.999, ε 1e-8.
 */
export function appendAdam(graph: Graph, parameters: readonly AdamParameter[], options: AdamOptions = {}): AdamNames {
  const { beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8, step = 'adam.step' } = options;
  const update = new AdamWriter(graph);
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
}

function appendParameter(update: AdamWriter, parameter: AdamParameter, shared: SharedValues): AdamStateNames {
  const { name, gradient: g, dims } = parameter;
  const [m, v] = [`${name}.m`, `${name}.v`];
  update.input(m, dims);
  update.input(v, dims);
  const average = (old: string, fresh: string, rest: string) => {
    const change = update.write('Mul', [update.write('Sub', [fresh, old], `${old}.change`), rest], `${old}.part`);
    return update.output('Add', [old, change], `${old}.next`, dims);
  };
  const mNext = average(m, g, shared.rest1);
  const vNext = average(v, update.write('Mul', [g, g], `${name}.square`), shared.rest2);
  const root = update.write('Sqrt', [vNext], `${name}.root`);
  const spread = update.write('Add', [root, shared.epsilon], `${name}.spread`);
  const direction = update.write('Div', [mNext, spread], `${name}.direction`);
  const rate = shared.rate.get(parameter.learningRate) ?? parameter.learningRate;
  const change = update.write('Mul', [direction, rate], `${name}.change`);
  const next = update.output('Sub', [name, change], `${name}.next`, dims);
  return { m, v, next, mNext, vNext };
}

/** Writes the update's nodes, inputs and outputs. */
class AdamWriter {
  readonly nodes: ReturnType<typeof node>[] = [];
  private readonly type: DataTypeName = 'float32';

  constructor(private readonly graph: Graph) {}

  input(name: string, dims: readonly number[]): void {
    if (this.graph.inputs.some((input) => input.name === name)) return;
    this.graph.inputs.push({ name, type: this.type, shape: dims });
  }

  write(opType: string, inputs: string[], output: string): string {
    this.nodes.push(node(opType, inputs, [output], { name: output }));
    return output;
  }

  output(opType: string, inputs: string[], output: string, dims: readonly number[]): string {
    this.graph.outputs.push({ name: output, type: this.type, shape: dims });
    return this.write(opType, inputs, output);
  }

  number(value: number): string {
    const name = `adam.constant.${value}`;
    return this.graph.addInitializer(initializerFromTensor(name, float32([], [value])));
  }
}
