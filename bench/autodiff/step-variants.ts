import { appendAdam } from '../../models/autodiff/adam.js';
import { recomputeBlocks } from '../../models/autodiff/memory/recompute-blocks.js';
import { orderForRelease } from '../../models/autodiff/memory/release-order.js';
import { saveInEightBits } from '../../models/autodiff/memory/save-in-eight-bits.js';
import type { Graph } from '../../models/onnx/graph.js';
import { float32, type Tensor, zeros } from '../../models/tensors/tensor.js';
import { withGradients, type ZooStep } from './zoo-step.js';

/** The training step as it is, and with what finetuning can give up for memory. */
export interface Variant {
  readonly recompute: boolean;
  readonly eightBits: boolean;
  /** How Adam keeps its moments; null is no optimizer: the gradients are the outputs. */
  readonly adam: 'float32' | 'fp8' | null;
}

const GRADIENTS: Variant = { recompute: false, eightBits: false, adam: null };

export const VARIANTS = {
  exact: GRADIENTS,
  'recompute: blocks': { ...GRADIENTS, recompute: true },
  'savedActivations: int8': { ...GRADIENTS, eightBits: true },
  both: { ...GRADIENTS, recompute: true, eightBits: true },
  'step with Adam': { ...GRADIENTS, adam: 'float32' },
  'step with Adam, optimizerState: fp8': { ...GRADIENTS, adam: 'fp8' },
} as const satisfies Readonly<Record<string, Variant>>;

export type VariantName = keyof typeof VARIANTS;

export interface BuiltVariant {
  readonly graph: Graph;
  /** Feeds beside the step's: learning rate, step number, empty moments. */
  readonly feeds: ReadonlyMap<string, Tensor>;
  /** Outputs with the gradients, in the order of the weights; empty with an optimizer. */
  readonly gradients: readonly string[];
  /** Outputs that replace inputs in the next step. */
  readonly updates: ReadonlyMap<string, string>;
  /** Bytes of the optimizer's moments. */
  readonly stateBytes: number;
}

export function buildVariant(step: ZooStep, { recompute, eightBits, adam }: Variant): BuiltVariant {
  const { graph, gradients } = withGradients(step);
  const forward = graph.nodes.slice(0, step.graph.nodes.length);
  if (recompute) recomputeBlocks(graph, step.shapes, forward.length);
  if (eightBits) saveInEightBits(graph, step.shapes, forward, step.weights);
  if (adam === null) orderForRelease(graph);
  if (adam === null) return { graph, feeds: new Map(), gradients, updates: new Map(), stateBytes: 0 };
  graph.outputs = graph.outputs.slice(0, 1);
  const parameters = step.weights.map((name, at) => {
    return { name, gradient: gradients[at] ?? '', dims: step.shapes.dimsOf(name), learningRate: 'rate' };
  });
  const names = appendAdam(graph, parameters, { state: adam });
  const updates = new Map<string, string>();
  for (const [name, { next, state }] of names.parameters) {
    updates.set(name, next);
    for (const [input, output] of state) updates.set(input, output);
  }
  const feeds = new Map<string, Tensor>([
    ['rate', float32([], [1e-4])],
    [names.step, float32([], [1])],
  ]);
  let stateBytes = 0;
  for (const { name, type, shape } of graph.inputs) {
    if (!updates.has(name) || step.feeds.has(name)) continue;
    const empty = zeros(type === 'uint8' ? 'uint8' : 'float32', (shape ?? []).map(Number));
    feeds.set(name, empty);
    stateBytes += empty.data.byteLength;
  }
  return { graph, feeds, gradients: [], updates, stateBytes };
}
