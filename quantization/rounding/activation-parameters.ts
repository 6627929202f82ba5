import { NibbleflowError } from '../../contracts/errors.js';
import { float32, tensor } from '../../models/tensors/tensor.js';
import type { ActivationQuantizer } from '../activation-quantizers.js';
import type { ActivationObservers } from '../calibration/activation-observers.js';
import { type ActivationRange, activationRange, activationTable } from '../calibration/activation-ranges.js';
import { type GroupedRow, groupedRow, rangeSpread } from '../calibration/group-ranges.js';
import { observationsOf } from '../calibration/observations.js';
import { mergedSpread, type SpreadStats, unitedStats } from '../calibration/spread-observer.js';
import type { ActivationParameters } from '../quantized-parameters.js';

/**
 * The stored ranges of one quantizer, from what was observed: a row per timestep in the order of `timesteps`, or one row for
 * static ranges.
 * @throws NibbleflowError MissingArtifact when a calibrated timestep was not observed
 */
export function activationParameters(
  observers: ActivationObservers,
  quantizer: ActivationQuantizer,
  timesteps: readonly number[],
): ActivationParameters {
  const { scheme, value } = quantizer;
  if (scheme.spread !== undefined) return spreadParameters(observers, quantizer, timesteps);
  const key = observationsOf(quantizer)[0]?.key ?? value;
  const table = activationTable(observers, key, scheme);
  const rows = scheme.ranges === 'static' ? [0] : timesteps.map((timestep) => table.timesteps.indexOf(timestep));
  return rangesTensors([rows.map((row) => table.ranges[row] ?? unobserved(value))], [rows.length]);
}

function spreadParameters(
  observers: ActivationObservers,
  quantizer: ActivationQuantizer,
  timesteps: readonly number[],
): ActivationParameters {
  const { scheme, value } = quantizer;
  const candidates = observationsOf(quantizer).map(({ key, axes }) => {
    const stats = timesteps.map((timestep) => observedAt(observers, key, timestep, value));
    return { axes: axes ?? [], rows: scheme.ranges === 'static' ? [mergedSpread(stats)] : stats };
  });
  const { axes, rows } = widest(candidates);
  const { groups } = scheme.spread ?? { groups: null };
  if (groups === null) {
    const ranges = rows.map((stats) => entryRanges(stats, quantizer));
    return { ...rangesTensors(ranges, [rows.length, rows[0]?.entries ?? 0]), spread: { axes, groups: null } };
  }
  const grouped = rows.map((stats) => groupedRow(stats, scheme, groups));
  return {
    ...rangesTensors(grouped.map(paddedRanges(groups)), [rows.length, groups]),
    spread: { axes, groups: members(grouped) },
  };
}

interface Candidate {
  readonly axes: readonly number[];
  readonly rows: readonly SpreadStats[];
}

/** The candidate along which ranges differ most, summed over timesteps; the first of equal ones. */
function widest(candidates: readonly Candidate[]): Candidate {
  const [first, ...others] = candidates;
  if (first === undefined) throw new RangeError('a spread has at least one candidate');
  const total = ({ rows }: Candidate): number => rows.reduce((sum, stats) => sum + rangeSpread(stats), 0);
  return others.reduce((best, one) => (total(one) > total(best) ? one : best), first);
}

function entryRanges(stats: SpreadStats, { scheme }: ActivationQuantizer): ActivationRange[] {
  return Array.from({ length: stats.entries }, (_, entry) => activationRange(unitedStats(stats, [entry]), scheme));
}

/** Rows have equal lengths: a row with fewer clusters than asked for repeats its first range, which no entry points to. */
function paddedRanges(groups: number): (row: GroupedRow) => ActivationRange[] {
  return ({ ranges: [first, ...others] }) => {
    if (first === undefined) throw new RangeError('a row has at least one group');
    const held = [first, ...others];
    return Array.from({ length: groups }, (_, group) => held[group] ?? first);
  };
}

function members(rows: readonly GroupedRow[]): NonNullable<ActivationParameters['spread']>['groups'] {
  const entries = rows[0]?.members.length ?? 0;
  const all = new Uint8Array(rows.length * entries);
  for (const [row, one] of rows.entries()) all.set(one.members, row * entries);
  return tensor('uint8', [rows.length, entries], all);
}

function rangesTensors(
  rows: readonly (readonly ActivationRange[])[],
  dims: readonly number[],
): Pick<ActivationParameters, 'scale' | 'zeroPoint'> {
  const all = rows.flat();
  const of = (one: (range: ActivationRange) => number) => float32(dims, Float32Array.from(all, one));
  return { scale: of(({ scale }) => scale), zeroPoint: of(({ zeroPoint }) => zeroPoint) };
}

function observedAt(observers: ActivationObservers, key: string, timestep: number, value: string): SpreadStats {
  return observers.spreads.timestepsOf(key).includes(timestep)
    ? observers.spreads.statsOf(key, timestep)
    : unobserved(value);
}

function unobserved(value: string): never {
  throw new NibbleflowError('MissingArtifact', `the activation ${value} was not observed at every calibrated timestep`);
}
