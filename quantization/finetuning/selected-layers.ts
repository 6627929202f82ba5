import type { FinetuningPhase } from '../../contracts/recipe.js';
import type { PlannedLayer, QuantizationPlan } from '../layer-plan.js';

/** Names of the quantized layers with weights that a phase trains: those with one of its roles, or one of its parts of attention. */
export function selectedLayers(plan: QuantizationPlan, selectors: FinetuningPhase['layers']): Set<string> {
  const wanted: ReadonlySet<string> = new Set(selectors);
  const isSelected = ({ role, attentionParts = [] }: PlannedLayer): boolean =>
    wanted.has(role) || attentionParts.some((part) => wanted.has(part));
  const layers = plan.layers.filter((layer) => layer.weight !== null && layer.skipped === null);
  return new Set(layers.filter(isSelected).map(({ name }) => name));
}
