import type { Recipe } from '../../contracts/recipe.js';
import { codeBytes, QUANTIZER_BYTES } from '../coverage.js';
import type { PlannedLayer, QuantizationPlan } from '../layer-plan.js';
import type { ChoiceOption } from './choice-problem.js';
import { bitsOf, type LayerBits } from './plan-at-bits.js';
import { errorAt, type LayerSensitivity, type Sensitivity } from './sensitivity.js';

/** Bits that a layer could get, with what they cost. */
export interface BitsOption extends ChoiceOption {
  readonly bits: { readonly weights: number; readonly activations: number };
  /** Whether the plan has these bits. */
  readonly isPlanned: boolean;
  /** The layer's share of the multiply-adds of all layers with a weight. */
  readonly macsShare: number;
}

/**
 * Every pair of scanned bits for a layer with a weight: the errors that its weight and its inputs cause alone, added; and one
 * cost per budget of the recipe: the share of multiply-adds that are not at the recipe's low bits, bytes of codes.
 */
export function bitsOptions(
  layer: PlannedLayer,
  plan: QuantizationPlan,
  sensitivity: Sensitivity,
  recipe: Recipe,
): BitsOption[] {
  const planned = bitsOf(layer);
  const scanned = sensitivity.layers.find(({ name }) => name === layer.name);
  if (planned === null || scanned === undefined) throw new RangeError(`${layer.name} was not scanned`);
  const { objective } = recipe.mixedPrecision;
  return sensitivity.bits.flatMap((weights) =>
    sensitivity.bits.map((activations): BitsOption => {
      const bits = { weights, activations };
      return {
        bits,
        isPlanned: planned.weights === weights && planned.activations === activations,
        macsShare: scanned.macsShare,
        error: errorAt(scanned.weights, weights, objective) + errorAt(scanned.activations, activations, objective),
        costs: costsOf(layer, { plan, planned, bits, scanned, recipe }),
      };
    }),
  );
}

interface CostContext {
  readonly plan: QuantizationPlan;
  readonly planned: LayerBits;
  readonly bits: BitsOption['bits'];
  readonly scanned: LayerSensitivity;
  readonly recipe: Recipe;
}

function costsOf(layer: PlannedLayer, { plan, planned, bits, scanned, recipe }: CostContext): number[] {
  const { minimumCoverage, megabytes } = recipe.mixedPrecision;
  const isLow = bits.weights <= recipe.weights.bits && bits.activations <= recipe.activations.bits;
  const splits = bits.activations !== planned.activations && sharesInput(layer, plan);
  const ranges = layer.inputs[0]?.scheme.ranges ?? 'dynamic';
  const bytes = codeBytes(bits.weights, layer.parameters) + (splits ? QUANTIZER_BYTES[ranges] : 0);
  return [minimumCoverage === null ? [] : [isLow ? 0 : scanned.macsShare], megabytes === null ? [] : [bytes]].flat();
}

/** Another layer reads the same value: other bits need a quantizer of their own. */
function sharesInput({ name, inputs }: PlannedLayer, plan: QuantizationPlan): boolean {
  const values = new Set(inputs.map(({ value }) => value));
  return plan.layers.some((other) => other.name !== name && other.inputs.some(({ value }) => values.has(value)));
}
