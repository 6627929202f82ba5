import type { ChoiceOption, ChoiceProblem } from './choice-problem.js';

/**
 * A lower bound on the error of every choice that completes a partial one (Lagrangian relaxation of the budgets):
 *
 *   bound = error + Σ_{g ≥ next} min_o (error_o + Σ_k λ_k cost_ok) − Σ_k λ_k (budget_k − spent_k),   λ ≥ 0
 *
 * Any λ gives a valid bound; the best one maximises the bound of the empty choice, which is concave in λ.
 */
export class LagrangianBound {
  private readonly multipliers: readonly number[];
  /** Σ over the groups from an index on of their smallest penalised error. */
  private readonly rest: Float64Array;

  constructor(private readonly problem: ChoiceProblem) {
    this.multipliers = bestMultipliers(problem);
    const { groups } = problem;
    this.rest = new Float64Array(groups.length + 1);
    for (let group = groups.length - 1; group >= 0; group -= 1) {
      this.rest[group] = (this.rest[group + 1] ?? 0) + smallestPenalised(groups[group] ?? [], this.multipliers);
    }
  }

  /** For a partial choice of the groups before `next`. */
  of(next: number, { error, costs }: { readonly error: number; readonly costs: readonly number[] }): number {
    const room = this.problem.budgets.reduce(
      (sum, budget, index) => sum + (this.multipliers[index] ?? 0) * (budget - (costs[index] ?? 0)),
      0,
    );
    return error + (this.rest[next] ?? 0) - room;
  }
}

/** Sweeps over the multipliers, one after the other, each by bisection of the slope. */
const SWEEPS = 8;
const BISECTIONS = 60;

function bestMultipliers({ groups, budgets }: ChoiceProblem): number[] {
  const multipliers = budgets.map(() => 0);
  const errors = groups.flat().map(({ error }) => error);
  const range = Math.max(0, ...errors) - Math.min(0, ...errors);
  for (let sweep = 0; sweep < SWEEPS; sweep += 1) {
    for (const [index, budget] of budgets.entries()) {
      const smallest = groups
        .flat()
        .map(({ costs }) => costs[index] ?? 0)
        .reduce((least, cost) => (cost > 0 && cost < least ? cost : least), Number.POSITIVE_INFINITY);
      if (!Number.isFinite(smallest)) continue;
      let [low, high] = [0, (groups.length * range) / smallest + 1];
      for (let step = 0; step < BISECTIONS; step += 1) {
        multipliers[index] = (low + high) / 2;
        if (spentBy(groups, multipliers, index) > budget) low = multipliers[index] ?? 0;
        else high = multipliers[index] ?? 0;
      }
      multipliers[index] = high;
    }
  }
  return multipliers;
}

/** Cost `index` of the options with the smallest penalised errors: the slope of the bound plus the budget. */
function spentBy(groups: ChoiceProblem['groups'], multipliers: readonly number[], index: number): number {
  return groups.reduce((sum, options) => {
    const best = options.reduce<ChoiceOption | null>(
      (found, option) =>
        found === null || penalised(option, multipliers) < penalised(found, multipliers) ? option : found,
      null,
    );
    return sum + (best?.costs[index] ?? 0);
  }, 0);
}

function smallestPenalised(options: readonly ChoiceOption[], multipliers: readonly number[]): number {
  return options.reduce((least, option) => Math.min(least, penalised(option, multipliers)), Number.POSITIVE_INFINITY);
}

function penalised({ error, costs }: ChoiceOption, multipliers: readonly number[]): number {
  return multipliers.reduce((sum, multiplier, index) => sum + multiplier * (costs[index] ?? 0), error);
}
