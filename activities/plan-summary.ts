import type { PlanSummary } from '../contracts/activities.js';
import type { QuantizationPlan } from '../quantization/layer-plan.js';

/** The numbers of a plan that a run shows. */
export function planSummary(plan: QuantizationPlan): PlanSummary {
  const { layers, parameters, macs } = plan.coverage;
  const skippedLayers = plan.layers.filter((layer) => layer.skipped !== null).length;
  return {
    layers: plan.layers.length,
    quantizedLayers: plan.layers.length - skippedLayers,
    skippedLayers,
    coverage: { layers, parameters, macs },
    floatBytes: plan.floatBytes,
    estimatedBytes: plan.estimatedBytes,
  };
}
