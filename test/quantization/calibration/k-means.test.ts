import { describe, expect, it } from 'vitest';
import { gaussianTensor, uniforms } from '../../../models/tensors/random.js';
import { kMeans } from '../../../quantization/calibration/k-means.js';

/** Σ of squared distances from the means of the parts, computed from pairs: Σ_{i<j} d² / n per part. */
function inertiaOf(x: ArrayLike<number>, y: ArrayLike<number>, assignment: ArrayLike<number>): number {
  let total = 0;
  for (const cluster of new Set(Array.from(assignment))) {
    const members = Array.from(assignment).flatMap((own, index) => (own === cluster ? [index] : []));
    let pairs = 0;
    for (const a of members) {
      for (const b of members) {
        if (a < b) pairs += ((x[a] ?? 0) - (x[b] ?? 0)) ** 2 + ((y[a] ?? 0) - (y[b] ?? 0)) ** 2;
      }
    }
    total += pairs / members.length;
  }
  return total;
}

/** The smallest inertia of all ways to put n points into at most k clusters. */
function bestInertia(x: ArrayLike<number>, y: ArrayLike<number>, k: number): number {
  let best = Number.POSITIVE_INFINITY;
  for (let code = 0; code < k ** x.length; code += 1) {
    const assignment = Array.from({ length: x.length }, (_, index) => Math.floor(code / k ** index) % k);
    best = Math.min(best, inertiaOf(x, y, assignment));
  }
  return best;
}

/** Double arithmetic of some dozen terms of size 1. */
const ROUNDING = 1e-12;

describe('k-means', () => {
  it('finds the best partition of few points in most draws, and never a worse one by much', () => {
    let optimal = 0;
    const draws = 8;
    for (let seed = 0; seed < draws; seed += 1) {
      const [x, y] = [gaussianTensor(seed, 1, [7]).data, gaussianTensor(seed, 2, [7]).data];
      const found = kMeans(x, y, 3, seed);
      expect(found.inertia).toBeCloseTo(inertiaOf(x, y, found.assignment), 10);
      const best = bestInertia(x, y, 3);
      expect(found.inertia).toBeGreaterThanOrEqual(best - ROUNDING);
      if (found.inertia <= best + ROUNDING) optimal += 1;
    }
    expect(optimal).toBeGreaterThanOrEqual(draws * 0.75);
  });

  it('separates groups that lie apart, outliers first', () => {
    const draw = uniforms(3, 0, 60);
    const x = draw.map((unit, index) => -unit - (index === 17 ? 40 : index % 3 === 0 ? 5 : 0));
    const y = draw.map((unit, index) => unit + (index === 17 ? 50 : index % 3 === 0 ? 8 : 0));
    const { assignment, count } = kMeans(x, y, 3, 0);
    expect(count).toBe(3);
    const kind = (index: number): number => (index === 17 ? 2 : index % 3 === 0 ? 0 : 1);
    for (let a = 0; a < 60; a += 1) {
      for (let b = 0; b < a; b += 1) expect(assignment[a] === assignment[b]).toBe(kind(a) === kind(b));
    }
  });

  it('is a function of points and seed, and numbers clusters from the first point on', () => {
    const [x, y] = [gaussianTensor(1, 1, [300]).data, gaussianTensor(1, 2, [300]).data];
    const found = kMeans(x, y, 16, 5);
    expect(kMeans(x, y, 16, 5)).toEqual(found);
    const firsts = [...new Set(found.assignment)];
    expect(firsts).toEqual(firsts.map((_, index) => index));
    expect(found.count).toBe(firsts.length);
  });

  it('makes no more clusters than there are distinct points', () => {
    expect(kMeans([1, 1, 1], [2, 2, 2], 8, 0)).toEqual({ assignment: new Uint8Array(3), count: 1, inertia: 0 });
    expect(kMeans([1, 4, 1, 4], [0, 0, 0, 0], 8, 0).count).toBe(2);
    expect(() => kMeans([], [], 2, 0)).toThrow(RangeError);
    expect(() => kMeans([1], [1], 0, 0)).toThrow(RangeError);
  });
});
