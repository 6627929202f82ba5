import { Graph, initializerFromTensor, node } from '../../models/onnx/graph.js';
import { float32 } from '../../models/tensors/tensor.js';
import {
  appendUpdates,
  buildEnergyGraph,
  buildGradientGraph,
  type Trainable,
  type TrainingGraphSpec,
} from './training-graph.js';

/**
 * A training step in k micro-batches of equal size, for devices that cannot hold the whole batch:
 *
 *   g = (1/k) Σ_j ∇ L_j,   then one Adam step with g
 *
 * Every part of the loss is a mean over the rows of a batch, so the mean of the micro-batches' gradients is the gradient of
 * the whole batch. Only a layer's relative error divides by something else of the batch, the energy of the layer's float output:
 * that of the whole batch, the mean of the micro-batches', is found by a pass of the float model before. The result is the
 * whole batch's but for the order in which float32 numbers are added.
 */
export interface AccumulatingGraphs {
  readonly trainables: readonly Trainable[];
  /** A micro-batch: takes trainables and sums so far, gives the loss and the sums with its part of the gradient. */
  readonly gradients: Graph;
  readonly loss: string;
  /** Sum input → output with the next sum. */
  readonly sums: ReadonlyMap<string, string>;
  /** Adam: takes trainables, moments and sums. */
  readonly update: Graph;
  /** As in TrainingGraph. */
  readonly updates: ReadonlyMap<string, string>;
  /** null when no layer errors are part of the loss. */
  readonly energy: { readonly graph: Graph; readonly outputs: readonly EnergyOutput[] } | null;
}

export interface EnergyOutput {
  /** Output of the energy graph. */
  readonly output: string;
  /** Input of the gradient graph: the mean over all micro-batches. */
  readonly input: string;
}

const SUM = 'train/sum/';
const ENERGY = 'train/energy/';

/** @param spec of one micro-batch @param parts micro-batches of a batch */
export function buildAccumulatingGraphs(spec: TrainingGraphSpec, parts: number): AccumulatingGraphs {
  const usesLayers = spec.layerLossWeight > 0 && spec.trainedLayers.size > 0;
  const energyInput = (layer: string, graph: Graph): string => {
    graph.inputs.push({ name: `${ENERGY}${layer}`, type: 'float32', shape: [] });
    return `${ENERGY}${layer}`;
  };
  const { graph, trainables, loss, gradients } = buildGradientGraph(spec, energyInput);
  const share = graph.addInitializer(initializerFromTensor('train/share', float32([], [1 / parts])));
  const sums = new Map<string, string>();
  const update = new Graph();
  update.opset = graph.opset;
  const summed = gradients.map(({ trainable, gradient }) => {
    const { name, initial } = trainable;
    const input = { name: `${SUM}${name}`, type: 'float32' as const, shape: [...initial.dims] };
    const next = `${input.name}/next`;
    graph.inputs.push(input);
    const part = `${input.name}/part`;
    graph.insertNodes([
      node('Mul', [gradient, share], [part], { name: part }),
      node('Add', [input.name, part], [next], { name: next }),
    ]);
    graph.outputs.push({ ...input, name: next });
    sums.set(input.name, next);
    update.inputs.push(input, { ...input, name });
    return { trainable, gradient: input.name };
  });
  const updates = appendUpdates(update, summed, spec.memory);
  const energy = usesLayers ? energyOf(spec) : null;
  return { trainables, gradients: graph, loss, sums, update, updates, energy };
}

function energyOf(spec: TrainingGraphSpec): AccumulatingGraphs['energy'] {
  const { graph, energies } = buildEnergyGraph(spec);
  return { graph, outputs: [...energies].map(([layer, output]) => ({ output, input: `${ENERGY}${layer}` })) };
}
