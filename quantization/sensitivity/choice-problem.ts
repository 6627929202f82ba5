/**
 * The choice of one option per group under budgets (a multiple-choice knapsack):
 *
 *   minimise Σ_g error(o_g)   subject to   Σ_g cost_k(o_g) ≤ budget_k for every budget k
 */
export interface ChoiceProblem {
  /** Options by group; at least one each. */
  readonly groups: readonly (readonly ChoiceOption[])[];
  /** At most MOST_BUDGETS of them. */
  readonly budgets: readonly number[];
}

export interface ChoiceOption {
  readonly error: number;
  /** One non-negative cost per budget. */
  readonly costs: readonly number[];
}

/** An index into the options of every group. */
export type Choice = readonly number[];

/** Exact choices sort their candidates by the first cost and keep a staircase in the second. */
export const MOST_BUDGETS = 2;

/** Slack for budgets that are met exactly but for the order of the sum. */
const ROUNDING = 1e-9;

export function errorOf(problem: ChoiceProblem, choice: Choice): number {
  return problem.groups.reduce((sum, options, group) => sum + optionAt(options, choice[group] ?? 0).error, 0);
}

export function costsOf(problem: ChoiceProblem, choice: Choice): number[] {
  return problem.budgets.map((_, budget) =>
    problem.groups.reduce((sum, options, group) => sum + (optionAt(options, choice[group] ?? 0).costs[budget] ?? 0), 0),
  );
}

/** Whether costs are within the budgets. */
export function isAffordable(costs: readonly number[], budgets: readonly number[]): boolean {
  return budgets.every((budget, index) => (costs[index] ?? 0) <= budget + Math.abs(budget) * ROUNDING);
}

/** Throws RangeError for an index that the group does not have. */
export function optionAt(options: readonly ChoiceOption[], index: number): ChoiceOption {
  const found = options[index];
  if (found === undefined) throw new RangeError(`a group of ${options.length} options has no option ${index}`);
  return found;
}

/** Costs as one number: the sum of their shares of the budgets. A budget of 0 makes any cost infinite. */
export function normalizedCost(costs: readonly number[], budgets: readonly number[]): number {
  return budgets.reduce((sum, budget, index) => {
    const cost = costs[index] ?? 0;
    return sum + (cost === 0 ? 0 : cost / budget);
  }, 0);
}
