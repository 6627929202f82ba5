import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { tensorFromNpy } from '../../../models/tensors/npy.js';
import { asFloat32, float32 } from '../../../models/tensors/tensor.js';
import {
  affineParameters,
  codeRange,
  dequantize,
  type GridParameters,
  quantize,
  roundHalfToEven,
  SCALE_EPSILON,
  scaleLayout,
  symmetricDivisor,
  symmetricScale,
} from '../../../quantization/formats/integer-grid.js';
import { packNibbles } from '../../../quantization/formats/pack.js';

const folder = new URL('../../golden/formats/', import.meta.url);

interface GoldenCase {
  readonly name: string;
  readonly type: 'INT4' | 'UINT4' | 'INT8' | 'UINT8';
  readonly axis: number | null;
  readonly block_size: number | null;
  readonly x_shape: readonly number[];
  readonly scale: number | readonly number[] | readonly (readonly number[])[];
  readonly zero_point: number | readonly number[] | readonly (readonly number[])[];
  readonly packed_hex?: string;
  /** `packed_hex` holds the reference's codes, which overflow where these are listed. */
  readonly onnx_reference_differs_from_spec: readonly unknown[];
}

const { cases } = JSON.parse(readFileSync(new URL('quantize_dequantize.json', folder), 'utf8')) as {
  cases: GoldenCase[];
};

function golden(name: string, part: string) {
  return tensorFromNpy(new Uint8Array(readFileSync(new URL(`${name}.${part}.npy`, folder))));
}

function flat(value: GoldenCase['scale']): number[] {
  return typeof value === 'number' ? [value] : (value as readonly number[]).flat(2);
}

function gridOf(of: GoldenCase): GridParameters {
  const spread = { axis: of.axis, blockSize: of.block_size };
  return {
    bits: of.type.endsWith('4') ? 4 : 8,
    signed: of.type.startsWith('INT'),
    scale: float32(scaleLayout(of.x_shape, spread).dims, flat(of.scale)),
    zeroPoint: flat(of.zero_point),
    ...spread,
  };
}

describe('quantize and dequantize equal the ONNX specification', () => {
  test('the golden set covers every type and spread', () => {
    expect(cases.length).toBeGreaterThanOrEqual(32);
    expect(new Set(cases.map((one) => one.type))).toEqual(new Set(['INT4', 'UINT4', 'INT8', 'UINT8']));
  });

  test.each(cases)('$name', (of) => {
    const x = asFloat32(golden(of.name, 'x'));
    const expectedCodes = golden(of.name, 'q_spec').data as Int32Array;
    const expectedValues = asFloat32(golden(of.name, 'y_spec')).data;
    const grid = gridOf(of);
    const codes = quantize(x, grid);
    const values = dequantize(codes, x.dims, grid);
    const compared = Array.from(x.data.keys()).filter((index) => !Number.isNaN(x.data[index]));
    expect(compared.map((index) => codes[index])).toEqual(compared.map((index) => expectedCodes[index]));
    expect(compared.map((index) => values.data[index])).toEqual(compared.map((index) => expectedValues[index]));
    if (grid.bits === 4 && of.onnx_reference_differs_from_spec.length === 0 && compared.length === x.data.length) {
      expect(Buffer.from(packNibbles(codes)).toString('hex')).toBe(of.packed_hex);
    }
  });
});

describe('roundHalfToEven', () => {
  test('rounds ties to the even neighbour and everything else to the nearest', () => {
    const given = [-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 0.49999999999999994, -7.51, 2 ** 51 + 0.5, 2 ** 51 + 1.5];
    const wanted = [-2, -2, 0, 0, 2, 2, 0, -8, 2 ** 51, 2 ** 51 + 2];
    expect(given.map((value) => roundHalfToEven(value) + 0)).toEqual(wanted);
    expect(roundHalfToEven(Number.POSITIVE_INFINITY)).toBe(Number.POSITIVE_INFINITY);
  });

  test('is odd, idempotent, and never more than half away', () => {
    fc.assert(
      fc.property(fc.double({ noNaN: true, min: -1e15, max: 1e15 }), (value) => {
        const rounded = roundHalfToEven(value);
        return (
          Number.isInteger(rounded) &&
          Math.abs(value - rounded) <= 0.5 &&
          rounded === -roundHalfToEven(-value) + 0 &&
          roundHalfToEven(rounded) === rounded
        );
      }),
    );
  });
});

describe('affineParameters', () => {
  const bounds = fc.tuple(
    fc.float({ noNaN: true, noDefaultInfinity: true }),
    fc.float({ noNaN: true, noDefaultInfinity: true }),
  );
  const bitWidths = fc.integer({ min: 2, max: 8 });

  /** Half a step, and the error of float32 in scale and zero point (relative to the range of ≤ 255 steps). */
  const HALF_STEP = 0.5 + 1e-4;

  test('zero is exactly a code and the whole range is covered', () => {
    fc.assert(
      fc.property(bounds, bitWidths, ([a, b], bits) => {
        const [min, max] = [Math.min(a, b), Math.max(a, b)];
        const { scale, zeroPoint } = affineParameters(min, max, bits);
        const codes = codeRange({ bits, signed: false });
        expect(Number.isInteger(zeroPoint)).toBe(true);
        expect(zeroPoint).toBeGreaterThanOrEqual(codes.min);
        expect(zeroPoint).toBeLessThanOrEqual(codes.max);
        expect((codes.max - zeroPoint) * scale).toBeGreaterThanOrEqual(Math.max(0, max) - HALF_STEP * scale);
        expect((codes.min - zeroPoint) * scale).toBeLessThanOrEqual(Math.min(0, min) + HALF_STEP * scale);
      }),
    );
  });

  test('one-sided ranges keep their end: min > 0 and max < 0', () => {
    expect(affineParameters(3, 15, 4)).toEqual({ scale: 1, zeroPoint: 0 });
    expect(affineParameters(-15, -3, 4)).toEqual({ scale: 1, zeroPoint: 15 });
  });

  test('an all-zero tensor gets the guard, never a zero scale', () => {
    expect(affineParameters(0, 0, 4)).toEqual({ scale: SCALE_EPSILON, zeroPoint: 0 });
    expect(symmetricScale(0, 4)).toBe(SCALE_EPSILON);
  });

  test('refuses bounds that are no range', () => {
    expect(() => affineParameters(1, 0, 4)).toThrow(RangeError);
    expect(() => affineParameters(Number.NaN, 0, 4)).toThrow(RangeError);
    expect(() => affineParameters(0, Number.POSITIVE_INFINITY, 4)).toThrow(RangeError);
    expect(() => affineParameters(0, 1, 0)).toThrow(RangeError);
  });
});

describe('symmetricScale', () => {
  /** Half a step plus float32 rounding of scale and quotient, in steps. */
  const HALF_STEP = 0.5 + 1e-4;

  test('no value in ±absmax is more than half a step away from its code, and both end codes are used', () => {
    for (let bits = 2; bits <= 8; bits += 1) {
      const scale = symmetricScale(3, bits);
      const ramp = float32(
        [1001],
        Array.from({ length: 1001 }, (_, index) => (index - 500) * (3 / 500)),
      );
      const grid: GridParameters = { bits, signed: true, scale: float32([], [scale]), zeroPoint: null, axis: null };
      const codes = quantize(ramp, grid);
      const values = dequantize(codes, ramp.dims, grid);
      const worst = Math.max(...ramp.data.map((value, index) => Math.abs(value - (values.data[index] as number))));
      expect(worst).toBeLessThanOrEqual(HALF_STEP * scale);
      expect(Math.min(...codes)).toBe(codeRange({ bits, signed: true }).min);
      expect(Math.max(...codes)).toBe(codeRange({ bits, signed: true }).max);
    }
  });

  test('has the step of the affine grid on the same range', () => {
    expect(symmetricDivisor(4)).toBe(7.5);
    expect(symmetricScale(1.25, 4)).toBe(affineParameters(-1.25, 1.25, 4).scale);
  });
});

describe('scaleLayout', () => {
  test('every element belongs to exactly one scale', () => {
    const spreads = fc.record({
      dims: fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 4 }),
      axis: fc.option(fc.nat(3)),
      blockSize: fc.option(fc.integer({ min: 1, max: 6 })),
    });
    fc.assert(
      fc.property(spreads, ({ dims, axis, blockSize }) => {
        const spread = axis === null ? { axis: null } : { axis: axis % dims.length, blockSize };
        const layout = scaleLayout(dims, spread);
        const seen = new Int32Array(dims.reduce((product, dim) => product * dim, 1));
        for (let scale = 0; scale < layout.count; scale += 1) {
          const { offset, countA, strideA, countB, strideB } = layout.membersOf(scale);
          for (let a = 0; a < countA; a += 1) {
            for (let b = 0; b < countB; b += 1) {
              const at = offset + a * strideA + b * strideB;
              seen[at] = (seen[at] ?? 0) + 1;
            }
          }
        }
        expect(seen.every((count) => count === 1)).toBe(true);
        expect(layout.dims.reduce((product, dim) => product * dim, 1)).toBe(layout.count);
      }),
    );
  });

  test('refuses axes and blocks that do not exist, and scales of another shape', () => {
    expect(() => scaleLayout([2, 3], { axis: 2 })).toThrow(RangeError);
    expect(() => scaleLayout([2, 3], { axis: null, blockSize: 2 })).toThrow(RangeError);
    expect(() => scaleLayout([2, 3], { axis: 1, blockSize: 0 })).toThrow(RangeError);
    const grid: GridParameters = { bits: 4, signed: true, scale: float32([2], [1, 1]), zeroPoint: null, axis: 1 };
    expect(() => quantize(float32([2, 3], [1, 2, 3, 4, 5, 6]), grid)).toThrow('scale of dims [3] expected, got [2]');
  });
});
