import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { readSafetensors, writeSafetensors } from '../../../models/tensors/safetensors.js';
import { ActivationObservers } from '../../../quantization/calibration/activation-observers.js';
import {
  HISTOGRAM_BINS,
  mergedStats,
  RangeObserver,
  type RangeStats,
} from '../../../quantization/calibration/range-observer.js';

const floats = fc
  .array(fc.float({ noNaN: true, noDefaultInfinity: true }), { maxLength: 30 })
  .map((values) => Float32Array.from(values));
const small = fc
  .array(fc.float({ min: -2, max: 2, noNaN: true }), { maxLength: 30 })
  .map((values) => Float32Array.from(values));
const batches = fc.array(fc.oneof(floats, small), { maxLength: 6 });

function observed(...parts: readonly Float32Array[]): RangeObserver {
  const observer = new RangeObserver();
  for (const part of parts) observer.observe(part);
  return observer;
}

function joined(parts: readonly Float32Array[]): Float32Array {
  return Float32Array.from(parts.flatMap((part) => [...part]));
}

function plain({ min, max, count, exponent, bins }: RangeStats): RangeStats {
  return { min, max, count, exponent, bins };
}

describe('RangeObserver', () => {
  test('merging equals observing everything, bit for bit, however the values were split and ordered', () => {
    fc.assert(
      fc.property(batches, batches, (left, right) => {
        const merged = observed(...left);
        merged.merge(observed(...right));
        const whole = observed(joined([...right, ...left]));
        expect(plain(merged)).toEqual(plain(whole));
      }),
    );
  });

  test('merging is commutative and associative', () => {
    fc.assert(
      fc.property(floats, small, floats, (a, b, c) => {
        const one = mergedStats([mergedStats([observed(a), observed(b)]), observed(c)]);
        const other = mergedStats([observed(c), mergedStats([observed(b), observed(a)])]);
        expect(plain(one)).toEqual(plain(other));
      }),
    );
  });

  test('no value is lost and every value lies in its bin', () => {
    fc.assert(
      fc.property(floats, (values) => {
        const { bins, exponent, count, min, max } = observed(values);
        expect(bins.reduce((sum, one) => sum + one, 0)).toBe(values.length);
        expect(count).toBe(values.length);
        const width = 2 ** (exponent + 1) / HISTOGRAM_BINS;
        for (const value of values) {
          const bin = Math.floor(value / width) + HISTOGRAM_BINS / 2;
          expect(bins[bin]).toBeGreaterThanOrEqual(1);
          expect(min <= value && value <= max).toBe(true);
        }
      }),
    );
  });

  test('the range grows by powers of two and holds its own bounds', () => {
    const observer = observed(Float32Array.of(0.75));
    expect(observer.exponent).toBe(0);
    expect(observer.bins[HISTOGRAM_BINS / 2 + 0.75 * (HISTOGRAM_BINS / 2)]).toBe(1);
    observer.observe(Float32Array.of(-1));
    expect(observer.exponent).toBe(1);
    expect(observer.bins[HISTOGRAM_BINS / 2 + 0.75 * (HISTOGRAM_BINS / 4)]).toBe(1);
    expect(observer.bins[HISTOGRAM_BINS / 4]).toBe(1);
  });

  test('refuses values that are not finite and stays as it was', () => {
    const observer = observed(Float32Array.of(1, 2));
    const before = plain(RangeObserver.from(observer));
    expect(() => observer.observe(Float32Array.of(3, Number.NaN))).toThrow('not finite');
    expect(() => observer.observe(Float32Array.of(Number.NEGATIVE_INFINITY))).toThrow(RangeError);
    expect(plain(observer)).toEqual(before);
  });
});

describe('ActivationObservers', () => {
  const records = fc.array(
    fc.tuple(fc.constantFrom('/a/b', 'a', 'a.min'), fc.constantFrom(999, 500.5, 1), fc.oneof(floats, small)),
    { maxLength: 12 },
  );

  function recorded(of: readonly (readonly [string, number, Float32Array])[]): ActivationObservers {
    const observers = new ActivationObservers();
    for (const [value, timestep, data] of of) observers.observe(value, timestep, data);
    return observers;
  }

  test('merging two workers equals one that saw everything, and survives safetensors', () => {
    fc.assert(
      fc.property(records, records, (left, right) => {
        const merged = recorded(left);
        merged.merge(recorded(right));
        const whole = recorded([...right, ...left]);
        expect(merged.toTensors()).toEqual(whole.toTensors());
        const bytes = writeSafetensors(merged.toTensors());
        const back = ActivationObservers.fromTensors(readSafetensors(bytes).tensors);
        expect(back.toTensors()).toEqual(whole.toTensors());
      }),
      { numRuns: 15 },
    );
  });

  test('an observer read back goes on observing as if it had never stopped', () => {
    const first: [string, number, Float32Array] = ['v', 10, Float32Array.of(0.1, -0.2)];
    const second: [string, number, Float32Array] = ['v', 10, Float32Array.of(5, 6)];
    const resumed = ActivationObservers.fromTensors(recorded([first]).toTensors());
    resumed.observe(...second);
    expect(resumed.toTensors()).toEqual(recorded([first, second]).toTensors());
  });

  test('lists values and timesteps in order and names what is missing', () => {
    const observers = recorded([
      ['b', 999, Float32Array.of(1)],
      ['a', 500, Float32Array.of(1)],
      ['a', 1, Float32Array.of(1)],
    ]);
    expect(observers.values()).toEqual(['a', 'b']);
    expect(observers.timestepsOf('a')).toEqual([1, 500]);
    expect(() => observers.statsOf('a', 999)).toThrow('a was not observed at timestep 999');
    const tensors = observers.toTensors();
    tensors.delete('b.max');
    expect(() => ActivationObservers.fromTensors(tensors)).toThrow('lack b.max');
  });
});
