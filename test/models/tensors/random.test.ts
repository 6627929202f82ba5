import { describe, expect, it } from 'vitest';
import { gaussianRows, gaussianTensor, permutation, philox4x32, uniforms } from '../../../models/tensors/random.js';

/** Known answers of Random123's kat_vectors file, philox4x32 with 10 rounds: counter, key, words. */
const KNOWN_ANSWERS = [
  ['00000000 00000000 00000000 00000000', '00000000 00000000', '6627e8d5 e169c58d bc57ac4c 9b00dbd8'],
  ['ffffffff ffffffff ffffffff ffffffff', 'ffffffff ffffffff', '408f276d 41c83b0e a20bc7c6 6d5451fd'],
  ['243f6a88 85a308d3 13198a2e 03707344', 'a4093822 299f31d0', 'd16cfe09 94fdcceb 5001e420 24126ea1'],
] as const;

/** Standard deviations that a sample moment may lie from its expectation: 1 in 15,000 by chance, and the seed is fixed. */
const SIGMAS = 4;

function hexWords(text: string): number[] {
  return text.split(' ').map((word) => Number.parseInt(word, 16));
}

describe('philox4x32', () => {
  it.each(KNOWN_ANSWERS)('gives the published words for counter %s', (counter, key, words) => {
    const [c0 = 0, c1 = 0, c2 = 0, c3 = 0] = hexWords(counter);
    const [k0 = 0, k1 = 0] = hexWords(key);
    expect([...philox4x32([c0, c1, c2, c3], [k0, k1])]).toEqual(hexWords(words));
  });
});

describe('uniforms', () => {
  it('are the words of Philox blocks: the midpoint of the cell that 26 bits of each of two words name', () => {
    const words = philox4x32([0, 0, 7, 0], [3, 0]);
    const [first = 0, second = 0] = uniforms(3, 7, 2);
    const cell = (high: number, low: number): bigint => (BigInt(high >>> 6) << 26n) | BigInt(low >>> 6);
    expect(first).toBe((Number(cell(words[1] ?? 0, words[0] ?? 0)) + 0.5) / 2 ** 52);
    expect(second).toBe((Number(cell(words[3] ?? 0, words[2] ?? 0)) + 0.5) / 2 ** 52);
  });

  it('lie strictly inside (0, 1) with the moments of a uniform distribution', () => {
    const count = 200_000;
    const values = uniforms(11, 0, count);
    const mean = values.reduce((sum, value) => sum + value, 0) / count;
    const variance = values.reduce((sum, value) => sum + (value - 0.5) ** 2, 0) / count;
    expect(Math.min(...values.subarray(0, 50_000))).toBeGreaterThan(0);
    expect(Math.max(...values.subarray(0, 50_000))).toBeLessThan(1);
    expect(Math.abs(mean - 1 / 2)).toBeLessThan(SIGMAS / Math.sqrt(12 * count));
    expect(Math.abs(variance - 1 / 12)).toBeLessThan(SIGMAS / Math.sqrt(180 * count));
  });

  it('are a prefix of a longer draw', () => {
    expect([...uniforms(1, 2, 5)]).toEqual([...uniforms(1, 2, 100).subarray(0, 5)]);
  });

  it('refuse seeds and streams that are no integers from 0 to 2^53 - 1', () => {
    expect(() => uniforms(-1, 0, 1)).toThrow(RangeError);
    expect(() => uniforms(0, 0.5, 1)).toThrow(RangeError);
    expect(() => uniforms(2 ** 53, 0, 1)).toThrow(RangeError);
  });

  it('differ for seeds and streams that agree in their low 32 bits', () => {
    expect(uniforms(5, 0, 1)[0]).not.toBe(uniforms(5 + 2 ** 32, 0, 1)[0]);
    expect(uniforms(0, 5, 1)[0]).not.toBe(uniforms(0, 5 + 2 ** 32, 1)[0]);
  });
});

describe('gaussianTensor', () => {
  it('has the moments of a unit normal distribution, in neighbouring streams too', () => {
    const perStream = 3 * 4096;
    const streams = 20;
    const all = Float64Array.from(gaussianRows(42, [...Array(streams).keys()], [perStream]).data);
    const n = perStream * streams;
    const moment = (power: number): number => all.reduce((sum, value) => sum + value ** power, 0) / n;
    expect(Math.abs(moment(1))).toBeLessThan(SIGMAS / Math.sqrt(n));
    expect(Math.abs(moment(2) - 1)).toBeLessThan(SIGMAS * Math.sqrt(2 / n));
    expect(Math.abs(moment(3))).toBeLessThan(SIGMAS * Math.sqrt(15 / n));
    expect(Math.abs(moment(4) - 3)).toBeLessThan(SIGMAS * Math.sqrt(96 / n));
  });

  it('is uncorrelated between neighbouring elements, streams and seeds', () => {
    const n = 50_000;
    const base = gaussianTensor(1, 1, [n]).data;
    const correlation = (other: Float32Array, shift: number): number => {
      let sum = 0;
      for (let i = 0; i + shift < n; i += 1) sum += (base[i] ?? 0) * (other[i + shift] ?? 0);
      return sum / n;
    };
    for (const [other, shift] of [
      [base, 1],
      [base, 2],
      [gaussianTensor(1, 2, [n]).data, 0],
      [gaussianTensor(2, 1, [n]).data, 0],
    ] as const) {
      expect(Math.abs(correlation(other, shift))).toBeLessThan(SIGMAS / Math.sqrt(n));
    }
  });

  it('gives an image the same noise whatever batch it is in, bit for bit', () => {
    const dims = [3, 5, 5];
    const alone = gaussianTensor(9, 4, dims);
    const batch = gaussianRows(9, [2, 4, 6], dims);
    expect(batch.dims).toEqual([3, 3, 5, 5]);
    expect([...batch.data.subarray(75, 150)]).toEqual([...alone.data]);
  });

  it('does not repeat the uniforms of the same seed and stream', () => {
    const [u1 = 0, u2 = 0] = uniforms(1, 1, 2);
    const fromUniforms = Math.fround(Math.sqrt(-2 * Math.log(u1)) * Math.cos(2 * Math.PI * u2));
    expect(gaussianTensor(1, 1, [1]).data[0]).not.toBe(fromUniforms);
  });
});

describe('permutation', () => {
  it('holds every integer once and is reproducible', () => {
    const order = permutation(1, 2, 1000);
    expect([...order].sort((a, b) => a - b)).toEqual([...Array(1000).keys()]);
    expect([...permutation(1, 2, 1000)]).toEqual([...order]);
    expect([...permutation(1, 3, 1000)]).not.toEqual([...order]);
  });

  it('draws each of the 24 orders of four things equally often', () => {
    const draws = 12_000;
    const counts = new Map<string, number>();
    for (let stream = 0; stream < draws; stream += 1) {
      const key = permutation(7, stream, 4).join('');
      counts.set(key, (counts.get(key) ?? 0) + 1);
    }
    const expected = draws / 24;
    const chiSquare = [...counts.values()].reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
    // 23 degrees of freedom: exceeded by chance 1 time in 10,000; the seed is fixed.
    expect(counts.size).toBe(24);
    expect(chiSquare).toBeLessThan(57.1);
  });
});
