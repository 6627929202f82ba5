import { NibbleflowError, nearestName } from '../contracts/errors.js';
import { EVALUATE_WORKFLOW, evaluationSpecSchema } from '../contracts/evaluation-activities.js';
import type { StartOptions } from '../contracts/run-control.js';
import { QUANTIZE_WORKFLOW } from '../contracts/run-summary.js';
import { runSpecSchema } from '../contracts/stages.js';
import { evaluationRows } from '../workflows/evaluation-state.js';
import { plannedStages } from '../workflows/run-state.js';

interface NamedRow {
  readonly id: string;
  readonly stage: string;
}

/** The rows of a run's table, in the order of execution, by type of workflow. */
const ROWS: Readonly<Record<string, (spec: unknown) => readonly NamedRow[]>> = {
  [QUANTIZE_WORKFLOW]: (spec) => plannedStages(runSpecSchema.parse(spec)),
  [EVALUATE_WORKFLOW]: (spec) => evaluationRows(evaluationSpecSchema.parse(spec)),
};

/** Which rows are computed again: `all`, `only` one, or one and all behind it. */
export type Again = 'all' | { readonly only: string } | { readonly from: string };

/**
 * What a workflow is started with so that these rows are computed again. A name is that of a row, or of a stage (its first row).
 * Throws InvalidInput for one that the run does not have, with the names that it has.
 */
export function recomputing(type: string, spec: unknown, again: Again, request: string): StartOptions {
  const rows = ROWS[type]?.(spec);
  if (rows === undefined)
    throw new NibbleflowError('InvalidInput', 'a run of this kind has no stages of its own to repeat');
  if (again === 'all') return { recompute: { stages: rows.map(({ id }) => id), request } };
  const name = 'only' in again ? again.only : again.from;
  const first = rows.findIndex(({ id }) => id === name);
  const index = first < 0 ? rows.findIndex(({ stage }) => stage === name) : first;
  if (index < 0) throw unknownStage(name, rows);
  const chosen = 'only' in again ? rows.slice(index, index + 1) : rows.slice(index);
  return { recompute: { stages: chosen.map(({ id }) => id), request } };
}

function unknownStage(name: string, rows: readonly NamedRow[]): NibbleflowError {
  const names = rows.map(({ id }) => id);
  const nearest = nearestName(name, names);
  return new NibbleflowError('InvalidInput', `the run has no stage ${name}`, {
    fix: `${nearest === undefined ? '' : `Did you mean ${nearest}? `}Its stages: ${names.join(', ')}.`,
  });
}
