import { describe, expect, test } from 'vitest';
import { clipScore, clipScores } from '../../../evaluation/metrics/clip-score.js';
import { float32 } from '../../../models/tensors/tensor.js';

describe('the CLIP score', () => {
  test('is 100 times the cosine, whatever the lengths, and 0 for opposite embeddings', () => {
    const images = float32([4, 2], [3, 0, 0, 2, 1, 1, 5, 0]);
    const texts = float32([4, 2], [7, 0, 9, 0, 2, 0, -1, 0]);
    const [same = 0, across = 0, diagonal = 0, opposite = 0] = clipScores(images, texts);
    expect(same).toBeCloseTo(100, 12);
    expect(across).toBe(0);
    expect(diagonal).toBeCloseTo(100 / Math.SQRT2, 12);
    expect(opposite).toBe(0);
  });

  test('is the mean over pairs with the interval of Student', () => {
    const angles = [0, 30, 60].map((degrees) => (degrees * Math.PI) / 180);
    const images = float32(
      [3, 2],
      angles.flatMap((angle) => [Math.cos(angle), Math.sin(angle)]),
    );
    const { mean, low, high } = clipScore(images, float32([3, 2], [1, 0, 1, 0, 1, 0]));
    expect(mean).toBeCloseTo((100 * (1 + Math.sqrt(0.75) + 0.5)) / 3, 4);
    // 4.303: the 97.5 % quantile of Student's t with 2 degrees of freedom
    const deviation = Math.sqrt([100, 100 * Math.sqrt(0.75), 50].reduce((sum, x) => sum + (x - mean) ** 2, 0) / 2);
    expect((high - low) / 2 / (deviation / Math.sqrt(3))).toBeCloseTo(4.3027, 3);
  });

  test('refuses embeddings that do not pair up, of length 0, and none', () => {
    expect(() => clipScore(float32([2, 2], [1, 0, 0, 1]), float32([1, 2], [1, 0]))).toThrow(/do not pair up/);
    expect(() => clipScore(float32([1, 2], [0, 0]), float32([1, 2], [1, 0]))).toThrow(/length 0/);
    expect(() => clipScore(float32([0, 2], []), float32([0, 2], []))).toThrow(/no pictures/);
  });
});
