import { describe, expect, it } from 'vitest';
import {
  float16FromFloat32,
  float32FromFloat16,
  halfFromNumber,
  numberFromHalf,
} from '../../../models/tensors/float16.js';
import { float32 } from '../../../models/tensors/tensor.js';

describe('float16', () => {
  it('knows the landmarks of binary16', () => {
    const landmarks: [number, number][] = [
      [0x0000, 0],
      [0x0001, 2 ** -24],
      [0x03ff, 1023 * 2 ** -24],
      [0x0400, 2 ** -14],
      [0x3c00, 1],
      [0x3555, 0.333251953125],
      [0x7bff, 65504],
      [0x7c00, Number.POSITIVE_INFINITY],
      [0xc000, -2],
      [0xfc00, Number.NEGATIVE_INFINITY],
    ];
    for (const [bits, value] of landmarks) {
      expect(numberFromHalf(bits)).toBe(value);
      expect(halfFromNumber(value)).toBe(bits);
    }
    expect(Object.is(numberFromHalf(0x8000), -0)).toBe(true);
    expect(halfFromNumber(-0)).toBe(0x8000);
  });

  it('keeps every finite code and infinity on the way to float32 and back', () => {
    for (let bits = 0; bits < 0x10000; bits += 1) {
      const value = numberFromHalf(bits);
      if (Number.isNaN(value)) expect(Number.isNaN(numberFromHalf(halfFromNumber(value)))).toBe(true);
      else expect(halfFromNumber(value)).toBe(bits);
    }
  });

  it('rounds to the nearest code, halfway to the even one', () => {
    for (let bits = 0; bits < 0x7bff; bits += 1) {
      const low = numberFromHalf(bits);
      const high = numberFromHalf(bits + 1);
      const middle = (low + high) / 2;
      expect(halfFromNumber(middle)).toBe(bits % 2 === 0 ? bits : bits + 1);
      expect(halfFromNumber(low + (middle - low) * 0.999)).toBe(bits);
      expect(halfFromNumber(middle + (high - middle) * 0.001)).toBe(bits + 1);
    }
    expect(halfFromNumber(65519.9)).toBe(0x7bff);
    expect(halfFromNumber(65520)).toBe(0x7c00);
  });

  it('converts tensors', () => {
    const value = float32([2, 2], [1, -0.5, 2.71, 1e6]);
    const back = float32FromFloat16(float16FromFloat32(value));
    expect(back.dims).toEqual([2, 2]);
    expect([...back.data]).toEqual([1, -0.5, 2.7109375, Number.POSITIVE_INFINITY]);
  });
});
