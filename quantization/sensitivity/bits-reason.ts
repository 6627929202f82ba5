import type { Recipe } from '../../contracts/recipe.js';
import type { PlannedLayer } from '../layer-plan.js';
import type { BitsOption } from './bits-options.js';

/**
 * Says why a layer got its bits: what it costs the network alone, which place that has among the free layers, and what other
 * bits would win or lose.
 */
export function bitsReason(
  layers: readonly PlannedLayer[],
  options: readonly (readonly BitsOption[])[],
  recipe: Recipe,
): (layer: PlannedLayer, chosen: BitsOption) => string {
  const planned = new Map(
    layers.map(({ name }, group) => [name, options[group]?.find(({ isPlanned }) => isPlanned)?.error ?? 0]),
  );
  const order = [...planned].sort(([, a], [, b]) => b - a).map(([name]) => name);
  const what = recipe.mixedPrecision.objective === 'guided' ? 'guided prediction' : "network's output";
  return (layer, chosen) => {
    const now = planned.get(layer.name) ?? 0;
    const place = `place ${order.indexOf(layer.name) + 1} of ${order.length}`;
    const share = `${percent(chosen.macsShare)} of multiply-adds`;
    if (!chosen.isPlanned) {
      return `alone it cost ${percent(now)} of the ${what} (${place}), now ${percent(chosen.error)}, for ${share}`;
    }
    const group = options[layers.indexOf(layer)] ?? [];
    const least = group.reduce((error, option) => Math.min(error, option.error), now);
    return `as planned: alone it costs ${percent(now)} of the ${what} (${place}); more bits would win ${percent(now - least)} for ${share}`;
  };
}

function percent(share: number): string {
  return `${Number((100 * share).toPrecision(2))} %`;
}
