import { describe, expect, it } from 'vitest';
import { gaussianTensor } from '../../../models/tensors/random.js';
import { readSafetensors, writeSafetensors } from '../../../models/tensors/safetensors.js';
import { ActivationObservers } from '../../../quantization/calibration/activation-observers.js';
import { RangeObserver } from '../../../quantization/calibration/range-observer.js';
import {
  arrangementOf,
  mergedSpread,
  SPREAD_BINS,
  SpreadObserver,
  type SpreadStats,
  unitedStats,
} from '../../../quantization/calibration/spread-observer.js';

const DIMS = [3, 4, 5, 2];

/** Values of sizes that differ from channel to channel by powers of ten. */
function values(seed: number): Float32Array {
  return gaussianTensor(seed, 0, DIMS).data.map((value, at) => value * 10 ** ((Math.floor(at / 10) % 4) - 2));
}

/** The values of one entry along one axis, by the definition of row-major order. */
function entryValues(data: Float32Array, axis: number, entry: number): number[] {
  const strides = DIMS.map((_, at) => DIMS.slice(at + 1).reduce((product, dim) => product * dim, 1));
  return Array.from(data).filter((_, at) => Math.floor(at / (strides[axis] ?? 1)) % (DIMS[axis] ?? 1) === entry);
}

function observed(parts: readonly Float32Array[], axes: readonly number[], withHistogram = true): SpreadObserver {
  const arrangement = arrangementOf(DIMS, axes);
  const observer = new SpreadObserver(arrangement.entries, withHistogram);
  for (const part of parts) observer.observe(part, arrangement);
  return observer;
}

function plain({ entries, count, min, max, histogram }: SpreadStats) {
  return {
    entries,
    count,
    min: [...min],
    max: [...max],
    exponents: [...(histogram?.exponents ?? [])],
    bins: [...(histogram?.bins ?? [])],
  };
}

describe('SpreadObserver', () => {
  it('sees of every entry what an observer of that entry alone sees', () => {
    const data = values(1);
    for (const axis of [1, 2, 3]) {
      const spread = observed([data], [axis]);
      for (let entry = 0; entry < (DIMS[axis] ?? 0); entry += 1) {
        const alone = new RangeObserver();
        alone.observe(Float32Array.from(entryValues(data, axis, entry)));
        const found = unitedStats(spread, [entry]);
        expect([found.min, found.max, found.count, found.exponent]).toEqual([
          alone.min,
          alone.max,
          alone.count,
          alone.exponent,
        ]);
        const factor = alone.bins.length / SPREAD_BINS;
        const coarse = Array.from({ length: SPREAD_BINS }, (_, bin) =>
          alone.bins.slice(bin * factor, (bin + 1) * factor).reduce((sum, count) => sum + count, 0),
        );
        expect([...found.bins]).toEqual(coarse);
      }
    }
  });

  it('unites entries to what one observer sees of all of them', () => {
    const data = values(8);
    const alone = new RangeObserver();
    for (const entry of [0, 2, 3]) alone.observe(Float32Array.from(entryValues(data, 1, entry)));
    const { bins, ...bounds } = unitedStats(observed([data], [1]), [0, 2, 3]);
    expect(bounds).toEqual({ min: alone.min, max: alone.max, count: alone.count, exponent: alone.exponent });
    const factor = alone.bins.length / SPREAD_BINS;
    expect([...bins]).toEqual(
      Array.from({ length: SPREAD_BINS }, (_, bin) =>
        alone.bins.slice(bin * factor, (bin + 1) * factor).reduce((sum, count) => sum + count, 0),
      ),
    );
  });

  it('counts pixels over two axes', () => {
    const data = values(2);
    const { min, max } = observed([data], [2, 3]);
    const inner = entryValues(data, 3, 1).filter((_, at) => at % 5 === 4);
    expect([min[9], max[9]]).toEqual([Math.min(...inner), Math.max(...inner)]);
  });

  it('does not depend on order or on how values are split into parts', () => {
    const parts = [values(3), values(4).map((value) => value * 100), values(5)];
    const all = plain(observed(parts, [1]));
    expect(plain(observed([...parts].reverse(), [1]))).toEqual(all);
    expect(plain(mergedSpread(parts.map((part) => observed([part], [1]))))).toEqual(all);
  });

  it('refuses values that are not finite and other entries, and keeps what it has', () => {
    const observer = observed([values(6)], [1]);
    const before = plain(observer);
    const broken = values(7);
    broken[3] = Number.NaN;
    expect(() => observer.observe(broken, arrangementOf(DIMS, [1]))).toThrow('not finite');
    expect(() => observer.observe(values(7), arrangementOf(DIMS, [2]))).toThrow('5 entries');
    expect(plain(observer)).toEqual(before);
  });

  it('goes on from a file as if it had never stopped', () => {
    const arrangement = arrangementOf(DIMS, [1]);
    const observe = (into: ActivationObservers, seed: number): void => {
      for (const timestep of [900, 20]) {
        into.observe('v', timestep, values(seed));
        into.spreads.observerFor('v by axes 1', timestep, 4, true).observe(values(seed + timestep), arrangement);
        into.spreads.observerFor('w', timestep, 4, false).observe(values(seed - 1 + timestep), arrangement);
      }
    };
    const straight = new ActivationObservers();
    observe(straight, 1);
    const saved = writeSafetensors(straight.toTensors());
    observe(straight, 2);
    const resumed = ActivationObservers.fromTensors(readSafetensors(saved).tensors);
    expect(resumed.values()).toEqual(['v']);
    expect(resumed.spreads.keys()).toEqual(['v by axes 1', 'w']);
    observe(resumed, 2);
    const merged = ActivationObservers.fromTensors(readSafetensors(saved).tensors);
    const rest = new ActivationObservers();
    observe(rest, 2);
    merged.merge(rest);
    for (const other of [resumed, merged]) {
      expect(Buffer.compare(writeSafetensors(other.toTensors()), writeSafetensors(straight.toTensors()))).toBe(0);
    }
  });
});
