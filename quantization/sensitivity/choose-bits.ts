import { NibbleflowError } from '../../contracts/errors.js';
import type { Recipe } from '../../contracts/recipe.js';
import { codeBytes, coverageOf, estimateBytes } from '../coverage.js';
import { layerOverrides } from '../layer-overrides.js';
import type { PlannedLayer, QuantizationPlan } from '../layer-plan.js';
import { type BitsOption, bitsOptions } from './bits-options.js';
import { bitsReason } from './bits-reason.js';
import { type Choice, type ChoiceProblem, errorOf, optionAt } from './choice-problem.js';
import { chooseExactly } from './choose-exactly.js';
import { chooseGreedily } from './choose-greedily.js';
import { bitsOf, layerAtBits } from './plan-at-bits.js';
import type { Sensitivity } from './sensitivity.js';

/**
 * Mixed precision: bits of every layer's weight and inputs such that the sum of the network errors that they cause one by one
 * is smallest within the budgets. That errors add up is the assumption (they are small and hardly correlated); what the whole
 * plan costs is measured by the stages behind.
 */
export interface BitsChoice {
  readonly plan: QuantizationPlan;
  /** Layers whose bits differ from the given plan's. */
  readonly changed: readonly string[];
  /** Sum of single-layer errors over the layers that were free, before and after. */
  readonly predicted: { readonly before: number; readonly after: number };
  /** Whether no choice has a smaller sum; null when the method does not say. */
  readonly isOptimal: boolean | null;
}

/**
 * @param recipe its `mixedPrecision.method` is not `none`
 * @param breathe called several times a second
 * @throws NibbleflowError InvalidRecipe when the budgets cannot be met, RangeError when bits were not scanned
 */
export async function chooseBits(
  plan: QuantizationPlan,
  sensitivity: Sensitivity,
  recipe: Recipe,
  breathe?: () => Promise<void>,
): Promise<BitsChoice> {
  const free = freeLayers(plan, sensitivity, recipe);
  const options = free.map((layer) => bitsOptions(layer, plan, sensitivity, recipe));
  const problem: ChoiceProblem = { groups: options, budgets: budgetsOf(plan, free, recipe) };
  const { choice, isOptimal } = await solve(problem, recipe, breathe);
  const chosen = new Map(
    free.map((layer, group) => [layer.name, optionAt(options[group] ?? [], choice[group] ?? 0) as BitsOption]),
  );
  const reasons = bitsReason(free, options, recipe);
  const layers = plan.layers.map((layer): PlannedLayer => {
    const option = chosen.get(layer.name);
    if (option !== undefined) return { ...layerAtBits(layer, option.bits), reason: reasons(layer, option) };
    return layer.weight === null || layer.skipped !== null ? layer : { ...layer, reason: fixedReason(layer) };
  });
  const before = options.map((group) => group.findIndex(({ isPlanned }) => isPlanned));
  return {
    plan: recounted(plan, layers, recipe),
    changed: free.filter(({ name }) => chosen.get(name)?.isPlanned === false).map(({ name }) => name),
    predicted: { before: errorOf(problem, before), after: errorOf(problem, choice) },
    isOptimal,
  };
}

async function solve(
  problem: ChoiceProblem,
  recipe: Recipe,
  breathe: (() => Promise<void>) | undefined,
): Promise<{ choice: Choice; isOptimal: boolean | null }> {
  const greedy = recipe.mixedPrecision.method === 'greedy';
  const exact = greedy ? null : await chooseExactly(problem, breathe === undefined ? {} : { breathe });
  const choice = greedy ? chooseGreedily(problem) : exact?.choice;
  if (choice !== null && choice !== undefined) return { choice, isOptimal: exact?.isOptimal ?? null };
  const { minimumCoverage, megabytes } = recipe.mixedPrecision;
  throw new NibbleflowError('InvalidRecipe', 'no bits that were scanned stay within the budgets of mixedPrecision', {
    where: `minimumCoverage ${minimumCoverage ?? 'none'}, megabytes ${megabytes ?? 'none'}, sensitivity.bits ${recipe.sensitivity.bits.join(', ')}`,
    fix: 'Loosen the budget, scan fewer bits (sensitivity.bits), or skip fewer layers.',
  });
}

/** Layers with a weight whose bits no override says; the first and the last layer when the recipe frees them. */
function freeLayers(plan: QuantizationPlan, sensitivity: Sensitivity, recipe: Recipe): PlannedLayer[] {
  const scanned = new Set(sensitivity.layers.map(({ name }) => name));
  const override = layerOverrides(
    recipe.overrides,
    plan.layers.map(({ name }) => name),
  );
  return plan.layers.filter((layer) => {
    const { weightBits, activationBits } = override(layer.name);
    const isEdge = layer.role === 'first' || layer.role === 'last';
    return (
      layer.weight !== null &&
      scanned.has(layer.name) &&
      bitsOf(layer) !== null &&
      weightBits === undefined &&
      activationBits === undefined &&
      (!isEdge || recipe.mixedPrecision.edges)
    );
  });
}

function fixedReason({ role }: PlannedLayer): string {
  return role === 'first' || role === 'last' ? 'as the recipe says for first and last layers' : 'as an override says';
}

/**
 * What the free layers may cost, in the order of `bitsOptions`: the share of multiply-adds above the recipe's low bits, and
 * bytes of the denoiser; each less what the other layers cost already.
 */
function budgetsOf(plan: QuantizationPlan, free: readonly PlannedLayer[], recipe: Recipe): number[] {
  const { minimumCoverage, megabytes } = recipe.mixedPrecision;
  const names = new Set(free.map(({ name }) => name));
  const fixed = plan.layers.filter(({ name }) => !names.has(name));
  const weighted = plan.layers.filter(({ parameters }) => parameters > 0);
  const macs = weighted.reduce((sum, layer) => sum + layer.macs, 0);
  const fixedMacs = fixed.reduce((sum, layer) => sum + (layer.parameters > 0 ? layer.macs : 0), 0);
  const uncovered = macs === 0 ? 0 : (fixedMacs / macs) * (1 - coverageOf(fixed, recipe).macs);
  const fixedBytes = plan.estimatedBytes - free.reduce((sum, layer) => sum + layerBytes(layer), 0);
  return [
    minimumCoverage === null ? [] : [1 - minimumCoverage - uncovered],
    megabytes === null ? [] : [megabytes * 1e6 - fixedBytes],
  ].flat();
}

function layerBytes({ weight, parameters }: PlannedLayer): number {
  return weight === null ? 0 : codeBytes(weight.scheme.bits, parameters);
}

function recounted(plan: QuantizationPlan, layers: readonly PlannedLayer[], recipe: Recipe): QuantizationPlan {
  const change = estimateBytes(layers, recipe, 0) - estimateBytes(plan.layers, recipe, 0);
  return { ...plan, layers, coverage: coverageOf(layers, recipe), estimatedBytes: plan.estimatedBytes + change };
}
