/**
 * Which timesteps are calibrated, and which calibrated one a timestep uses. Keys are the model's timesteps t, never indices
 * of sampler steps: a table that was made with 20 steps serves 10 or 50 as well.
 */

/**
 * Indices into `samplerTimesteps`, increasing and evenly spaced, with the first and the last one: round(i · (n − 1) / (count − 1)).
 * All indices when `count` is at least n; the middle one for a count of 1. Throws RangeError for no timesteps or a count below 1.
 */
export function chooseTimesteps(samplerTimesteps: readonly number[], count: number): number[] {
  const available = samplerTimesteps.length;
  if (available === 0) throw new RangeError('a sampler has at least one timestep');
  if (!Number.isInteger(count) || count < 1) throw new RangeError(`at least one timestep is calibrated, got ${count}`);
  if (count === 1) return [Math.floor((available - 1) / 2)];
  const chosen = Math.min(count, available);
  if (chosen === 1) return [0];
  return Array.from({ length: chosen }, (_, index) => Math.round((index * (available - 1)) / (chosen - 1)));
}

/**
 * Index of the entry of `table` that is nearest to `t`; of equally near ones the smaller index, as ONNX ArgMin picks it.
 * The table may be in any order. Throws RangeError for an empty table or a `t` that is not finite.
 */
export function nearestTimestep(table: readonly number[], t: number): number {
  if (table.length === 0) throw new RangeError('the table of calibrated timesteps is empty');
  if (!Number.isFinite(t)) throw new RangeError(`no timestep: ${t}`);
  let nearest = 0;
  let smallest = Number.POSITIVE_INFINITY;
  for (const [index, entry] of table.entries()) {
    const distance = Math.abs(entry - t);
    if (distance < smallest) {
      nearest = index;
      smallest = distance;
    }
  }
  return nearest;
}
