import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { float32 } from '../../../models/tensors/tensor.js';
import { ActivationObservers } from '../../../quantization/calibration/activation-observers.js';
import {
  type ActivationRange,
  activationRange,
  activationTable,
} from '../../../quantization/calibration/activation-ranges.js';
import { RangeObserver } from '../../../quantization/calibration/range-observer.js';
import { affineParameters, dequantize, quantize, symmetricScale } from '../../../quantization/formats/integer-grid.js';
import type { ActivationScheme } from '../../../quantization/layer-plan.js';
import { weightOf, zooDenoiser } from '../zoo-denoiser.js';

const { graph } = zooDenoiser();
const REAL = weightOf(graph, 'unet.mid_block.resnets.0.conv1.weight').data;

/** What SiLU makes of real weights stretched to ±6: lopsided, with a short negative end. */
const SILU = REAL.map((value) => {
  const x = value * 40;
  return x / (1 + Math.exp(-x));
});

function scheme(partial: Partial<ActivationScheme> = {}): ActivationScheme {
  return { bits: 4, symmetric: false, ranges: 'static', groupSize: null, range: 'mse', ...partial };
}

function rangeOf(values: Float32Array, of: Partial<ActivationScheme> = {}): ActivationRange {
  const observer = new RangeObserver();
  observer.observe(values);
  return activationRange(observer, scheme(of));
}

function squaredError(values: Float32Array, range: ActivationRange, of: Partial<ActivationScheme> = {}): number {
  const { bits, symmetric } = scheme(of);
  const grid = { bits, signed: symmetric, scale: float32([], [range.scale]), zeroPoint: [range.zeroPoint], axis: null };
  const rounded = dequantize(quantize(float32([values.length], values), grid), [values.length], grid);
  return values.reduce((sum, value, index) => sum + (value - (rounded.data[index] ?? 0)) ** 2, 0);
}

describe('activationRange', () => {
  test('minmax is the affine or symmetric grid over what was seen', () => {
    const values = Float32Array.of(-1, 0.5, 3);
    expect(rangeOf(values, { range: 'minmax' })).toEqual(affineParameters(-1, 3, 4));
    expect(rangeOf(values, { range: 'minmax', symmetric: true })).toEqual({
      scale: symmetricScale(3, 4),
      zeroPoint: 0,
    });
  });

  test.each([
    ['bell-shaped values', REAL],
    ['lopsided values', SILU],
  ])('the mse search has less error than minmax on %s, at every width, signed and unsigned', (_, values) => {
    for (const symmetric of [false, true]) {
      for (const bits of [2, 3, 4, 6]) {
        const minmax = squaredError(values, rangeOf(values, { bits, symmetric, range: 'minmax' }), { bits, symmetric });
        const mse = squaredError(values, rangeOf(values, { bits, symmetric }), { bits, symmetric });
        expect(mse).toBeLessThan(minmax);
      }
    }
  });

  test('unsigned codes beat signed ones on lopsided values', () => {
    const unsigned = squaredError(SILU, rangeOf(SILU));
    const signed = squaredError(SILU, rangeOf(SILU, { symmetric: true }), { symmetric: true });
    expect(unsigned).toBeLessThan(signed / 2);
  });

  test('the histogram search is about as good as a search over the values themselves', () => {
    /** 2,048 bins are ≥ 32 a code at 4 bit: errors inside a bin are below 1/32² of a code's; 2 % leaves room for the candidates. */
    const WORTH = 1.02;
    const found = squaredError(SILU, rangeOf(SILU));
    const { low, high } = SILU.reduce(
      (ends, value) => ({ low: Math.min(ends.low, value), high: Math.max(ends.high, value) }),
      { low: 0, high: 0 },
    );
    for (const lowFactor of [1, 0.8, 0.6, 0.4]) {
      for (let highFactor = 1; highFactor > 0.2; highFactor -= 0.05) {
        const other = squaredError(SILU, affineParameters(low * lowFactor, high * highFactor, 4));
        expect(found).toBeLessThanOrEqual(other * WORTH);
      }
    }
  });

  test('is positive and finite for whatever was seen', () => {
    const values = fc.array(fc.float({ noNaN: true, noDefaultInfinity: true }), { minLength: 1, maxLength: 20 });
    fc.assert(
      fc.property(values, fc.boolean(), (numbers, symmetric) => {
        const { scale, zeroPoint } = rangeOf(Float32Array.from(numbers), { symmetric });
        expect(scale).toBeGreaterThan(0);
        expect(Number.isFinite(scale)).toBe(true);
        expect(Number.isInteger(zeroPoint) && zeroPoint >= 0 && zeroPoint <= 15).toBe(true);
      }),
      { numRuns: 50 },
    );
  });

  test('refuses to guess a range of nothing', () => {
    expect(() => activationRange(new RangeObserver(), scheme())).toThrow('nothing was observed');
  });
});

describe('activationTable', () => {
  const observers = new ActivationObservers();
  observers.observe('v', 999, REAL);
  observers.observe(
    'v',
    1,
    REAL.map((value) => value * 10),
  );

  test('has an entry per timestep in increasing order, each of its own range', () => {
    const table = activationTable(observers, 'v', scheme({ ranges: 'timestep' }));
    expect(table.timesteps).toEqual([1, 999]);
    const [late, early] = table.ranges;
    /** Float32 rounding of 10·x moves values across bin edges, and the best candidate by one or two of its 1 % steps. */
    expect((late?.scale ?? 0) / (early?.scale ?? 1)).toBeGreaterThan(9.5);
    expect((late?.scale ?? 0) / (early?.scale ?? 1)).toBeLessThan(10.5);
  });

  test('static is one entry over all timesteps, and worse for each of them than its own', () => {
    const table = activationTable(observers, 'v', scheme({ ranges: 'static' }));
    expect(table.timesteps).toEqual([]);
    expect(table.ranges).toHaveLength(1);
    const own = activationTable(observers, 'v', scheme({ ranges: 'timestep' })).ranges[1] as ActivationRange;
    expect(squaredError(REAL, own)).toBeLessThan(squaredError(REAL, table.ranges[0] as ActivationRange) / 2);
  });

  test('refuses dynamic schemes and values that nobody observed', () => {
    expect(() => activationTable(observers, 'v', scheme({ ranges: 'dynamic' }))).toThrow('found at run time');
    expect(() => activationTable(observers, 'w', scheme({ ranges: 'timestep' }))).toThrow('not observed');
    expect(() => activationTable(observers, 'w', scheme())).toThrow('nothing was observed');
  });
});
