import type { LayerStatisticsSum } from '../calibration/layer-statistics.js';
import { refitKey } from '../calibration/refit-graph.js';
import type { QuantizedParameters, WeightParameters } from '../quantized-parameters.js';
import type { BranchableLayer } from './branchable-layers.js';
import { applyRefit, refitOf } from './output-refit.js';

/** Refits the outputs of the layers that `moments` has seen. */
export function refitOutputs(
  layers: readonly BranchableLayer[],
  parameters: QuantizedParameters,
  moments: LayerStatisticsSum,
): QuantizedParameters {
  const weights = new Map<string, WeightParameters>(parameters.weights);
  for (const layer of layers) {
    const held = parameters.weights.get(layer.name);
    const float = moments.mean(refitKey('float', layer.name));
    const quantized = moments.mean(refitKey('quantized', layer.name));
    const product = moments.mean(refitKey('product', layer.name));
    const square = moments.mean(refitKey('square', layer.name));
    if (held === undefined || !float || !quantized || !product || !square) continue;
    const refit = refitOf({ float, quantized, product, square }, held.bias !== null);
    weights.set(layer.name, applyRefit(held, layer.weight, refit));
  }
  return { ...parameters, weights };
}
