import {
  type Choice,
  type ChoiceOption,
  type ChoiceProblem,
  costsOf,
  isAffordable,
  normalizedCost,
  optionAt,
} from './choice-problem.js';

/**
 * Starts from the cheapest option of every group and goes on changing the group that wins the most error per cost (as shares
 * of the budgets), among all better options that are still affordable, until none is. Ties go to the earlier group.
 * @returns null when even the cheapest options are beyond a budget
 */
export function chooseGreedily(problem: ChoiceProblem): Choice | null {
  const { groups, budgets } = problem;
  const choice = groups.map((options) => cheapest(options, budgets));
  const spent = costsOf(problem, choice);
  if (!isAffordable(spent, budgets)) return null;
  for (;;) {
    const best = bestChange(problem, choice, spent);
    if (best === null) return choice;
    choice[best.group] = best.option;
    for (const [index, change] of best.change.entries()) spent[index] = (spent[index] ?? 0) + change;
  }
}

function cheapest(options: readonly ChoiceOption[], budgets: readonly number[]): number {
  let best = 0;
  for (let index = 1; index < options.length; index += 1) {
    const [found, candidate] = [optionAt(options, best), optionAt(options, index)];
    const difference = normalizedCost(candidate.costs, budgets) - normalizedCost(found.costs, budgets);
    if (difference < 0 || (difference === 0 && candidate.error < found.error)) best = index;
  }
  return best;
}

interface Change {
  readonly group: number;
  readonly option: number;
  readonly change: readonly number[];
  readonly gain: number;
}

function bestChange({ groups, budgets }: ChoiceProblem, choice: Choice, spent: readonly number[]): Change | null {
  let best: Change | null = null;
  for (const [group, options] of groups.entries()) {
    const now = optionAt(options, choice[group] ?? 0);
    for (const [option, candidate] of options.entries()) {
      const won = now.error - candidate.error;
      if (!(won > 0)) continue;
      const change = candidate.costs.map((cost, index) => cost - (now.costs[index] ?? 0));
      const after = spent.map((cost, index) => cost + (change[index] ?? 0));
      if (!isAffordable(after, budgets)) continue;
      const cost = normalizedCost(change, budgets);
      const gain = cost > 0 ? won / cost : Number.POSITIVE_INFINITY;
      if (best === null || gain > best.gain) best = { group, option, change, gain };
    }
  }
  return best;
}
