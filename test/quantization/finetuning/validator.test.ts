import { describe, expect, it } from 'vitest';
import { validationBatch } from '../../../quantization/finetuning/validator.js';

describe('batches of held-back items', () => {
  it('are as large as fits, all equal, and leave nothing out', () => {
    expect([1, 7, 16, 24, 34, 128].map((items) => validationBatch(items))).toEqual([1, 7, 16, 12, 2, 16]);
  });

  it('are not made of nothing', () => {
    expect(() => validationBatch(0)).toThrow(expect.objectContaining({ kind: 'InvalidInput' }));
  });
});
