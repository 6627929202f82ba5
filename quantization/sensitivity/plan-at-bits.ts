import type { PlannedLayer, QuantizationPlan } from '../layer-plan.js';

/** Bits of one layer: of its weight (null for a product of two activations) and of its inputs. */
export interface LayerBits {
  readonly weights: number | null;
  readonly activations: number;
}

/** The bits that a plan gives a layer; null when it stays float. Inputs of one layer have the same bits. */
export function bitsOf({ skipped, weight, inputs }: PlannedLayer): LayerBits | null {
  const [input] = inputs;
  if (skipped !== null || input === undefined) return null;
  return { weights: weight?.scheme.bits ?? null, activations: input.scheme.bits };
}

/** The layer with other bits; everything else of its schemes stays. */
export function layerAtBits(layer: PlannedLayer, bits: LayerBits): PlannedLayer {
  const { weight, inputs } = layer;
  return {
    ...layer,
    weight:
      weight === null ? null : { ...weight, scheme: { ...weight.scheme, bits: bits.weights ?? weight.scheme.bits } },
    inputs: inputs.map((input) => ({ ...input, scheme: { ...input.scheme, bits: bits.activations } })),
  };
}

/** Every quantized layer of the plan with `bits` bits for weights and activations. Coverage and bytes are not counted again. */
export function planAtBits(plan: QuantizationPlan, bits: number): QuantizationPlan {
  const layers = plan.layers.map((layer) =>
    layer.skipped === null ? layerAtBits(layer, { weights: bits, activations: bits }) : layer,
  );
  return { ...plan, layers };
}

/** All bits that a plan uses, and `more`; increasing. */
export function bitsInUse(plan: QuantizationPlan, more: readonly number[]): number[] {
  const found = plan.layers.flatMap((layer) => {
    const bits = bitsOf(layer);
    return bits === null ? [] : [bits.activations, ...(bits.weights === null ? [] : [bits.weights])];
  });
  return [...new Set([...found, ...more])].sort((a, b) => a - b);
}

/** How many times a scan at `bits` (and the plan's own) runs all its calls; 0 without bits. */
export function scanMeasurements(plan: QuantizationPlan, bits: readonly number[]): number {
  if (bits.length === 0) return 0;
  const perWave = plan.layers.reduce((sum, layer) => {
    const found = bitsOf(layer);
    return sum + (found === null ? 0 : found.weights === null ? 1 : 2);
  }, 1);
  return 1 + bitsInUse(plan, bits).length * perWave;
}
