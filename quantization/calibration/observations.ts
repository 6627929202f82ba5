import { asFloat32, type Tensor } from '../../models/tensors/tensor.js';
import { type ActivationQuantizer, activationQuantizers } from '../activation-quantizers.js';
import type { QuantizationPlan, SpreadAxes } from '../layer-plan.js';
import type { ActivationObservers } from './activation-observers.js';
import { arrangementOf } from './spread-observer.js';

/** One summary of a value that stored ranges are found from. */
export interface Observation {
  /** Names it among the observers; the value's own name for a summary of all of it. */
  readonly key: string;
  readonly value: string;
  /** Axis whose first entry is left out. */
  readonly floatFirst: number | null;
  /** Axes whose elements are summarised one by one; null: all together. */
  readonly axes: SpreadAxes['axes'] | null;
  /** Whether a spread summary keeps histograms. */
  readonly withHistogram: boolean;
}

/** The distinct observations that a plan's stored ranges need. */
export function observations(plan: QuantizationPlan): Observation[] {
  const found = new Map<string, Observation>();
  for (const quantizer of activationQuantizers(plan)) {
    for (const one of observationsOf(quantizer)) {
      const known = found.get(one.key);
      found.set(one.key, { ...one, withHistogram: one.withHistogram || (known?.withHistogram ?? false) });
    }
  }
  return [...found.values()];
}

/** What one quantizer needs: nothing for ranges found at run time, a summary for each candidate of a spread. */
export function observationsOf({ value, scheme }: ActivationQuantizer): Observation[] {
  if (scheme.ranges === 'dynamic') return [];
  const floatFirst = scheme.floatFirst ?? null;
  const whole = floatFirst === null ? value : `${value} without the first of axis ${floatFirst}`;
  const { spread } = scheme;
  if (spread === undefined) return [{ key: whole, value, floatFirst, axes: null, withHistogram: true }];
  const withHistogram = scheme.range === 'mse';
  return spread.candidates.map(({ axes }) => ({
    ...{ value, floatFirst, axes, withHistogram },
    key: spreadKey(whole, axes),
  }));
}

function spreadKey(whole: string, axes: readonly number[]): string {
  return `${whole} by axes ${axes.join(' and ')}`;
}

/** Adds what one run computed for an observation's value. */
export function addObservation(
  observers: ActivationObservers,
  one: Observation,
  timestep: number,
  computed: Tensor,
): void {
  const { dims, data } = one.floatFirst === null ? asFloat32(computed) : withoutFirst(computed, one.floatFirst);
  if (one.axes === null) {
    observers.observe(one.key, timestep, data);
    return;
  }
  const arrangement = arrangementOf(dims, one.axes);
  observers.spreads.observerFor(one.key, timestep, arrangement.entries, one.withHistogram).observe(data, arrangement);
}

/** A copy without the first entry along `axis`. */
function withoutFirst(value: Tensor, axis: number): { dims: readonly number[]; data: Float32Array } {
  const { data } = asFloat32(value);
  const { outer, entries, inner } = arrangementOf(value.dims, [axis]);
  const row = (entries - 1) * inner;
  const rest = new Float32Array(outer * row);
  for (let block = 0; block < outer; block += 1) {
    rest.set(data.subarray((block * entries + 1) * inner, (block + 1) * entries * inner), block * row);
  }
  return { dims: value.dims.map((dim, at) => (at === axis ? dim - 1 : dim)), data: rest };
}
