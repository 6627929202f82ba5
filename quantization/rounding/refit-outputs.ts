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
    const product = moments.mean(refitKey('product', layer.name));
    const square = moments.mean(refitKey('square', layer.name));
    if (held === undefined || product === undefined || square === undefined) continue;
    weights.set(layer.name, applyRefit(held, layer.weight, refitOf({ product, square })));
  }
  return { ...parameters, weights };
}
