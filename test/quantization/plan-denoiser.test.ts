import { describe, expect, it } from 'vitest';
import { recipeSchema } from '../../contracts/recipe.js';
import { refuseFinetuning } from '../../quantization/plan-denoiser.js';

const phases = [{ name: 'all', layers: ['convolution' as const], steps: 1 }];
const plain = { predictsVariance: false, timestepRows: 'one-or-batch' as const, modelPath: 'unet/model.onnx' };

describe('denoisers that finetuning cannot train', () => {
  const finetuned = recipeSchema.parse({ finetuning: { phases } });

  it.each([
    ['learned variance', { ...plain, predictsVariance: true }, /variance.*finetuning\.enabled=false/s],
    ['a scalar timestep', { ...plain, timestepRows: 'scalar' as const }, /one timestep.*finetuning\.enabled=false/s],
    ['exactly one timestep', { ...plain, timestepRows: 'one' as const }, /one timestep/],
  ])('are refused with what to do: %s', (_, denoiser, message) => {
    expect(() => refuseFinetuning(denoiser, finetuned)).toThrow(message);
  });

  it('pass when nothing is finetuned, and others pass always', () => {
    const untouched = recipeSchema.parse({ finetuning: { enabled: false, phases } });
    expect(() => refuseFinetuning({ ...plain, predictsVariance: true }, untouched)).not.toThrow();
    expect(() => refuseFinetuning(plain, finetuned)).not.toThrow();
  });
});
