import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { packNibbles, unpackNibbles } from '../../../quantization/formats/pack.js';

interface PackedInitializer {
  readonly type: string;
  readonly dims: readonly number[];
  readonly values: readonly number[];
  readonly raw_data_hex: string;
}

const initializers = (
  JSON.parse(
    readFileSync(new URL('../../golden/formats/packed_initializers.json', import.meta.url), 'utf8'),
  ) as PackedInitializer[]
).filter((one) => one.type === 'INT4' || one.type === 'UINT4');

describe('nibbles', () => {
  test('the golden set has both types and odd lengths', () => {
    expect(new Set(initializers.map((one) => one.type)).size).toBe(2);
    expect(initializers.some((one) => one.values.length % 2 === 1)).toBe(true);
  });

  test.each(initializers)('$type $dims packs and unpacks as onnx does', ({ type, values, raw_data_hex }) => {
    expect(Buffer.from(packNibbles(values)).toString('hex')).toBe(raw_data_hex);
    const unpacked = unpackNibbles(Buffer.from(raw_data_hex, 'hex'), values.length, type === 'INT4');
    expect(Array.from(unpacked)).toEqual(values);
  });

  test('unpacking reverses packing for every length and code', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: -8, max: 7 })), (codes) => {
        expect(Array.from(unpackNibbles(packNibbles(codes), codes.length, true))).toEqual(codes);
      }),
    );
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 15 })), (codes) => {
        expect(Array.from(unpackNibbles(packNibbles(codes), codes.length, false))).toEqual(codes);
      }),
    );
  });

  test('refuses codes of more than four bits and a wrong byte count', () => {
    expect(() => packNibbles([0, 16])).toThrow('16 at 1 is no 4-bit code');
    expect(() => packNibbles([0.5])).toThrow(RangeError);
    expect(() => unpackNibbles(new Uint8Array(2), 5, true)).toThrow(RangeError);
  });
});
