import { floatAttribute, type Graph, intAttribute } from '../../models/onnx/graph.js';
import type { PlannedLayer, PlannedWeight, QuantizationPlan } from '../layer-plan.js';
import { tapsOf } from './weight-matrix.js';

/** A quantized layer whose weight can be split into a sum: one group of channels, its data on the left. */
export interface BranchableLayer extends PlannedLayer {
  readonly weight: PlannedWeight;
}

/** Layers of the plan that can have a side branch. */
export function branchableLayers(graph: Graph, plan: QuantizationPlan): BranchableLayer[] {
  return plan.layers.filter((layer): layer is BranchableLayer => {
    const node = graph.nodeByName(layer.node);
    if (node === undefined || layer.weight === null || layer.skipped !== null) return false;
    if (layer.inputs[0]?.index !== 0) return false;
    if (layer.opType === 'Conv') return intAttribute(node, 'group', 1) === 1;
    if (layer.opType === 'MatMul') return true;
    return intAttribute(node, 'transA', 0) === 0 && floatAttribute(node, 'alpha', 1) === 1;
  });
}

/** Multiply-adds of one rank: down · x to one channel, and up from it to all. */
export function macsPerRank({ macs, weight }: Pick<BranchableLayer, 'macs' | 'weight'>): number {
  const outputs = weight.dims[weight.outputAxis] ?? 1;
  const inputs = weight.dims[weight.inputAxis] ?? 1;
  return macs / outputs + macs / (inputs * tapsOf(weight));
}
