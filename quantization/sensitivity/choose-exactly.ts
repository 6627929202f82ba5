import {
  type Choice,
  type ChoiceOption,
  type ChoiceProblem,
  errorOf,
  isAffordable,
  MOST_BUDGETS,
} from './choice-problem.js';
import { chooseGreedily } from './choose-greedily.js';
import { LagrangianBound } from './lagrangian-bound.js';

/**
 * The best choice, by dynamic programming over Pareto-optimal partial choices (Nemhauser and Ullmann 1969, for multiple-choice
 * knapsacks): after each group only those partial choices are kept that no other one beats in error and in every cost, and whose
 * Lagrangian bound on the whole error is below the best choice known. Lists are first kept short, by dropping the partial
 * choices with the worst bounds, which finds good choices soon; then longer, until nothing that could be better was dropped.
 */
export interface ExactChoice {
  readonly choice: Choice;
  /** Whether no better choice exists. */
  readonly isOptimal: boolean;
  /** No choice has a smaller error than this. */
  readonly lowerBound: number;
}

/** Partial choices that are kept per group, one pass after the other. */
const LIST_LENGTHS = [100, 1000, 4000];

export interface ExactOptions {
  /** Lengths of the lists, one pass after the other. */
  readonly listLengths?: readonly number[];
  /** Called several times a second. */
  readonly breathe?: () => Promise<void>;
}

/** Two sums of the same errors in different orders differ by less than this, relatively. */
const ROUNDING = 1e-12;

interface State {
  readonly error: number;
  readonly costs: readonly number[];
  readonly option: number;
  readonly before: State | null;
}

/** @returns null when nothing is affordable. Throws RangeError for more than MOST_BUDGETS budgets. */
export async function chooseExactly(
  problem: ChoiceProblem,
  { listLengths = LIST_LENGTHS, breathe = async () => {} }: ExactOptions = {},
): Promise<ExactChoice | null> {
  if (problem.budgets.length > MOST_BUDGETS)
    throw new RangeError(`at most ${MOST_BUDGETS} budgets can be kept exactly`);
  const bound = new LagrangianBound(problem);
  let best = chooseGreedily(problem);
  let dropped = Number.NEGATIVE_INFINITY;
  for (const length of listLengths) {
    const found = await pass(
      { problem, bound, length, breathe },
      best === null ? Number.POSITIVE_INFINITY : errorOf(problem, best),
    );
    dropped = found.dropped;
    if (found.choice !== null && (best === null || errorOf(problem, found.choice) < errorOf(problem, best))) {
      best = found.choice;
    }
    if (dropped >= (best === null ? Number.POSITIVE_INFINITY : errorOf(problem, best))) break;
  }
  if (best === null) return null;
  const error = errorOf(problem, best);
  return { choice: best, isOptimal: dropped >= error, lowerBound: Math.min(error, dropped) };
}

interface Pass {
  readonly problem: ChoiceProblem;
  readonly bound: LagrangianBound;
  readonly length: number;
  readonly breathe: () => Promise<void>;
}

/** One walk over the groups. `dropped`: the smallest bound of what was left out for want of room; Infinity when nothing was. */
async function pass(
  { problem, bound, length, breathe }: Pass,
  known: number,
): Promise<{ choice: Choice | null; dropped: number }> {
  const limit = known * (1 + ROUNDING);
  let states: State[] = [{ error: 0, costs: problem.budgets.map(() => 0), option: -1, before: null }];
  let dropped = Number.POSITIVE_INFINITY;
  for (const [group, options] of problem.groups.entries()) {
    await breathe();
    const boundOf = (state: State): number => bound.of(group + 1, state);
    const hopeful = extended(states, options, problem.budgets).filter((state) => boundOf(state) <= limit);
    states = paretoOptimal(hopeful);
    if (states.length <= length) continue;
    states.sort((a, b) => boundOf(a) - boundOf(b));
    for (const state of states.splice(length)) dropped = Math.min(dropped, boundOf(state));
  }
  const best = states.reduce<State | null>(
    (found, state) => (found === null || state.error < found.error ? state : found),
    null,
  );
  return { choice: best === null ? null : choiceOf(best), dropped };
}

function extended(states: readonly State[], options: readonly ChoiceOption[], budgets: readonly number[]): State[] {
  return states.flatMap((before) =>
    options.flatMap((option, index): State[] => {
      const costs = before.costs.map((cost, budget) => cost + (option.costs[budget] ?? 0));
      return isAffordable(costs, budgets) ? [{ error: before.error + option.error, costs, option: index, before }] : [];
    }),
  );
}

/** The states that no other one equals or beats in error and all costs; of equal ones the first. */
function paretoOptimal(states: readonly State[]): State[] {
  const [first, second] = [0, 1] as const;
  const order = states.toSorted(
    (a, b) =>
      (a.costs[first] ?? 0) - (b.costs[first] ?? 0) ||
      (a.costs[second] ?? 0) - (b.costs[second] ?? 0) ||
      a.error - b.error,
  );
  const stairs = new Staircase();
  return order.filter((state) => stairs.add(state.costs[second] ?? 0, state.error));
}

/** Points (cost, error) of which none beats another, by increasing cost and therefore decreasing error. */
class Staircase {
  private readonly costs: number[] = [];
  private readonly errors: number[] = [];

  /** Adds a point; false when a known one is at least as good in both. */
  add(cost: number, error: number): boolean {
    const at = this.firstAbove(cost);
    if (at > 0 && (this.errors[at - 1] ?? 0) <= error) return false;
    const from = at > 0 && this.costs[at - 1] === cost ? at - 1 : at;
    let end = from;
    while (end < this.costs.length && (this.errors[end] ?? 0) >= error) end += 1;
    this.costs.splice(from, end - from, cost);
    this.errors.splice(from, end - from, error);
    return true;
  }

  private firstAbove(cost: number): number {
    let [low, high] = [0, this.costs.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.costs[middle] ?? 0) <= cost) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

function choiceOf(last: State): number[] {
  const choice: number[] = [];
  for (let state: State | null = last; state !== null && state.before !== null; state = state.before)
    choice.push(state.option);
  return choice.reverse();
}
