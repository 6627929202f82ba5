import { NibbleflowError } from '../../contracts/errors.js';
import type { Graph } from '../../models/onnx/graph.js';
import { tensorFromInitializer } from '../../models/onnx/tensor-from-initializer.js';
import { asFloat32, type Float32Tensor } from '../../models/tensors/tensor.js';
import { activationQuantizers } from '../activation-quantizers.js';
import type { ActivationObservers } from '../calibration/activation-observers.js';
import type { PlannedWeight, QuantizationPlan } from '../layer-plan.js';
import type { ActivationParameters, QuantizedParameters, WeightParameters } from '../quantized-parameters.js';
import { activationParameters } from './activation-parameters.js';
import { weightScales } from './weight-scales.js';

export interface RoundParametersOptions {
  readonly graph: Graph;
  readonly plan: QuantizationPlan;
  readonly observers: ActivationObservers;
  /** The calibrated timesteps in sampler order. */
  readonly timesteps: readonly number[];
  /** Called after every layer and quantizer. */
  readonly onItem?: (done: number, total: number) => Promise<void>;
}

/** Scales for every planned weight and the range tables of every activation that has some: round-to-nearest parameters. */
export async function roundParameters(options: RoundParametersOptions): Promise<QuantizedParameters> {
  const { graph, plan, observers, timesteps, onItem } = options;
  const layers = plan.layers.filter((layer) => layer.weight !== null && layer.skipped === null);
  const quantizers = activationQuantizers(plan).filter(({ scheme }) => scheme.ranges !== 'dynamic');
  const total = layers.length + quantizers.length;
  const weights = new Map<string, WeightParameters>();
  const activations = new Map<string, ActivationParameters>();
  for (const layer of layers) {
    if (layer.weight !== null) weights.set(layer.name, roundedWeight(graph, layer.weight));
    await onItem?.(weights.size, total);
  }
  for (const quantizer of quantizers) {
    activations.set(quantizer.id, activationParameters(observers, quantizer, timesteps));
    await onItem?.(weights.size + activations.size, total);
  }
  return { timesteps, weights, activations, branches: new Map() };
}

function roundedWeight(graph: Graph, planned: PlannedWeight): WeightParameters {
  const weight = floatInitializer(graph, planned.initializer);
  const bias = planned.bias === null ? null : floatInitializer(graph, planned.bias);
  return { weight, scales: weightScales(weight, planned), bias };
}

function floatInitializer(graph: Graph, name: string): Float32Tensor {
  const found = graph.initializers.get(name);
  if (found !== undefined) return asFloat32(tensorFromInitializer(found));
  throw new NibbleflowError('InvalidModel', 'the plan was made for another graph', { where: `initializer ${name}` });
}
