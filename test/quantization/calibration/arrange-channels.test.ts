import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { gaussianTensor, permutation } from '../../../models/tensors/random.js';
import { arrangeChannels, type ChannelRows } from '../../../quantization/calibration/arrange-channels.js';

/** Float32 extremes, double sums in another order. */
const ROUNDING = 1e-9;

/** The cost of an order by its definition. */
function costOf({ values, channels, weights, groupSize, symmetric }: ChannelRows, order: readonly number[]): number {
  let cost = 0;
  for (let first = 0; first < channels; first += groupSize) {
    const members = order.slice(first, first + groupSize);
    const weight = members.reduce((sum, channel) => sum + (weights[channel] ?? 0), 0);
    for (let row = 0; row < values.length / channels; row += 1) {
      const taken = members.map((channel) => values[row * channels + channel] ?? 0);
      const [high, low] = [Math.max(0, ...taken), Math.min(0, ...taken)];
      cost += weight * (symmetric ? 2 * Math.max(high, -low) : high - low) ** 2;
    }
  }
  return cost;
}

function swapped(order: readonly number[], a: number, b: number): number[] {
  const result = [...order];
  [result[a], result[b]] = [order[b] ?? 0, order[a] ?? 0];
  return result;
}

/** Rows in which channel c is a Gaussian of its own size and mean. */
function randomRows(seed: number, channels: number, groupSize: number, symmetric: boolean): ChannelRows {
  const rows = 24;
  const noise = gaussianTensor(seed, 0, [rows, channels]).data;
  const sizes = gaussianTensor(seed, 1, [channels]).data;
  const means = gaussianTensor(seed, 2, [channels]).data;
  const values = noise.map((value, at) => {
    const channel = at % channels;
    return value * Math.exp(sizes[channel] ?? 0) + 2 * (means[channel] ?? 0);
  });
  const weights = Float64Array.from({ length: channels }, (_, channel) => 1 + (channel % 3));
  return { values, channels, weights, groupSize, symmetric };
}

describe('arranging channels', () => {
  it('brings planted groups together', async () => {
    const [channels, groupSize, rows] = [32, 8, 40];
    const noise = gaussianTensor(5, 0, [rows, channels]).data;
    const home = Array.from(permutation(6, 0, channels));
    const sizes = [-1, 0.1, 1, 10];
    const values = noise.map(
      (value, at) => Math.abs(value) * (sizes[Math.floor((home[at % channels] ?? 0) / groupSize)] ?? 0),
    );
    const weights = new Float64Array(channels).fill(1);
    const { order, cost } = await arrangeChannels({ values, channels, weights, groupSize, symmetric: false });
    const groups = Array.from({ length: channels / groupSize }, (_, group) =>
      order
        .slice(group * groupSize, (group + 1) * groupSize)
        .map((channel) => Math.floor((home[channel] ?? 0) / groupSize)),
    );
    for (const group of groups) expect(new Set(group).size).toBe(1);
    expect(cost.arranged).toBeLessThan(cost.given);
  });

  it('gives a permutation that no swap makes cheaper, and says what it costs', async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 0, max: 10_000 }), fc.boolean(), async (seed, symmetric) => {
        const rows = randomRows(seed, 12, 4, symmetric);
        const { order, cost } = await arrangeChannels(rows);
        expect(order.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 12 }, (_, channel) => channel));
        const now = costOf(rows, order);
        expect(Math.abs(cost.arranged - now)).toBeLessThanOrEqual(ROUNDING * now);
        const given = costOf(
          rows,
          order.map((_, at) => at),
        );
        expect(Math.abs(cost.given - given)).toBeLessThanOrEqual(ROUNDING * given);
        expect(now).toBeLessThanOrEqual(given * (1 + ROUNDING));
        for (let a = 0; a < 12; a += 1) {
          for (let b = a + 1; b < 12; b += 1) {
            expect(costOf(rows, swapped(order, a, b))).toBeGreaterThanOrEqual(now * (1 - 2 * ROUNDING));
          }
        }
      }),
      { numRuns: 40 },
    );
  });
});
