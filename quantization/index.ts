/** Public entry point `nibbleflow/quantization`: from a float graph and a recipe to a low-bit graph. */
export { type ActivationQuantizer, activationQuantizers } from './activation-quantizers.js';
export { ActivationObservers } from './calibration/activation-observers.js';
export { activationRange, activationTable } from './calibration/activation-ranges.js';
export type { CalibrationItem, CalibrationSet } from './calibration/calibration-set.js';
export { measureStepWeights } from './calibration/step-weights.js';
export { chooseTimesteps, nearestTimestep } from './calibration/timestep-plan.js';
export { convertDenoiser } from './conversion/convert-denoiser.js';
export { type FinetuneOptions, type FinetuneResult, finetuneParameters } from './finetuning/finetune-parameters.js';
export { affineParameters, dequantize, quantize, roundHalfToEven } from './formats/integer-grid.js';
export { packNibbles, unpackNibbles } from './formats/pack.js';
export type { ActivationScheme, Coverage, PlannedLayer, QuantizationPlan, WeightScheme } from './layer-plan.js';
export { planLayers } from './plan-layers.js';
export type { QuantizedParameters } from './quantized-parameters.js';
export { dequantizeCodes, roundToCodes } from './rounding/round-nearest.js';
export { weightScales } from './rounding/weight-scales.js';
export { splitShortcuts } from './transforms/split-shortcut.js';
