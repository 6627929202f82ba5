import { describe, expect, test } from 'vitest';
import { recipeSchema } from '../../../contracts/recipe.js';
import { selectedLayers } from '../../../quantization/finetuning/selected-layers.js';
import { planLayers } from '../../../quantization/plan-layers.js';
import { ZOO_INPUTS, zooDenoiser } from '../zoo-denoiser.js';

const { graph, shapes, bytes } = zooDenoiser();

function plan(overrides: readonly { layers: string; skip: boolean }[] = []) {
  const recipe = recipeSchema.parse({ overrides });
  return planLayers({ graph, shapes, recipe, inputs: ZOO_INPUTS, floatBytes: bytes.length });
}

describe('the layers that a finetuning phase trains', () => {
  test("QuEST's second stage on a transformer UNet: feed-forward, queries, keys and values of self-attention", () => {
    const selected = selectedLayers(plan(), ['feed-forward', 'attention-query', 'attention-self-key-value']);
    const expected = plan().layers.filter(({ name }) => /\.ff\.net\.|to_q$|attn1\.to_[kv]$/.test(name));
    expect([...selected]).toEqual(expected.map(({ name }) => name));
    expect(selected.size).toBe(24);
  });

  test('a role takes all of its parts, and a part nothing of another role', () => {
    const all = selectedLayers(plan(), ['attention-projection']);
    const parts = selectedLayers(plan(), [
      'attention-query',
      'attention-self-key-value',
      'attention-cross-key-value',
      'attention-output',
    ]);
    expect(parts).toEqual(all);
    expect(parts.size).toBe(32);
  });

  test('a layer that stays float is not trained', () => {
    const skipping = plan([{ layers: 'to_q$', skip: true }]);
    expect(selectedLayers(skipping, ['attention-query']).size).toBe(0);
  });
});
