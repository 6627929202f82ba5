import { describe, expect, it } from 'vitest';
import type { RecipeInput } from '../../contracts/recipe.js';
import type { PlannedInput, PlannedLayer } from '../../quantization/layer-plan.js';
import { type PreparedZoo, prepareZoo } from './quantized-zoo.js';

const RANGES = { ranges: 'timestep', range: 'minmax' } as const;

function planned(activations: RecipeInput['activations'], attention: RecipeInput['attention'] = {}): PreparedZoo {
  return prepareZoo({ weights: { range: 'absmax' }, activations: { ...RANGES, ...activations }, attention });
}

/** Inputs of the layers whose names end so, in plan order. */
function inputsOf({ plan }: PreparedZoo, ending: string): PlannedInput[] {
  return plan.layers.filter(({ name }) => name.endsWith(ending)).flatMap(({ inputs }) => inputs);
}

function axesOf(input: PlannedInput | undefined): string[] {
  return (input?.scheme.spread?.candidates ?? []).map(
    ({ kind, axes, entries }) => `${kind} ${axes.join(' ')}: ${entries}`,
  );
}

function layersWith({ plan }: PreparedZoo, has: (input: PlannedInput) => boolean): PlannedLayer[] {
  return plan.layers.filter(({ inputs }) => inputs.some(has));
}

describe('a recipe that says nothing about grids', () => {
  it('plans schemes without a trace of them', () => {
    const { plan } = planned({});
    const keys = new Set(plan.layers.flatMap(({ inputs }) => inputs.flatMap(({ scheme }) => Object.keys(scheme))));
    expect(keys).toEqual(new Set(['bits', 'symmetric', 'ranges', 'groupSize', 'range']));
    expect(plan).not.toHaveProperty('notices');
    expect(plan).not.toHaveProperty('fixesSize');
  });
});

describe('a range per channel', () => {
  const zoo = planned({ granularity: 'channel' });

  it('counts what a layer sums over, and the features of V', () => {
    expect(axesOf(inputsOf(zoo, 'mid_block.resnets.0.conv1')[0])).toEqual(['channel 1: 128']);
    expect(axesOf(inputsOf(zoo, 'ff.net.2')[0])).toEqual(['channel 2: 512']);
    expect(axesOf(inputsOf(zoo, 'time_embedding.linear_2')[0])).toEqual(['channel 1: 256']);
    const [q, k] = inputsOf(zoo, 'mid_block.attentions.0.transformer_blocks.0.attn2.qk');
    const [p, v] = inputsOf(zoo, 'mid_block.attentions.0.transformer_blocks.0.attn2.sv');
    expect([axesOf(q), axesOf(k), axesOf(v)]).toEqual([['channel 2: 32'], ['channel 1: 32'], ['channel 2: 32']]);
    // The zoo takes texts and pictures of any size: how many keys there are is not known.
    expect(axesOf(p)).toEqual([]);
  });

  it('says that this is a simulation on integer hardware', () => {
    expect(zoo.plan.notices?.join()).toMatch(/per input channel and timestep.*simulation/);
    expect(planned({ granularity: 'channel', ranges: 'static' }).plan.notices?.join()).toContain(
      'folded into the weights',
    );
  });

  it('is refused where its histograms would not fit into memory', () => {
    const recipe = { activations: { ...RANGES, granularity: 'channel' as const, range: 'mse' as const } };
    expect(() => prepareZoo({ ...recipe, calibration: { timesteps: 1000 } })).toThrow(/take \d+\.\d GB/);
    expect(() => prepareZoo(recipe)).not.toThrow();
  });
});

describe('groups by k-means', () => {
  it('take channels only where pictures may have any size, and say so', () => {
    const zoo = planned({ grouping: { method: 'kmeans' } });
    const grouped = layersWith(zoo, ({ scheme }) => scheme.spread !== undefined);
    expect(grouped.length).toBeGreaterThan(60);
    for (const { inputs } of grouped) {
      for (const { scheme } of inputs) {
        expect(scheme.spread?.candidates.map(({ kind }) => kind) ?? ['channel']).toEqual(['channel']);
      }
    }
    expect(zoo.plan.fixesSize).toBeUndefined();
    expect(zoo.plan.notices?.join()).toContain('only channels are grouped');
  });

  it('may take pixels and tokens when the size is given up, and then say that', () => {
    const zoo = planned({ grouping: { method: 'kmeans', groups: 16, fixedSize: true } });
    expect(axesOf(inputsOf(zoo, 'mid_block.resnets.0.conv1')[0])).toEqual(['channel 1: 128', 'pixel 2 3: 64']);
    expect(axesOf(inputsOf(zoo, 'ff.net.2')[0])).toEqual(['channel 2: 512', 'pixel 1: 64']);
    const [q, k] = inputsOf(zoo, 'mid_block.attentions.0.transformer_blocks.0.attn2.qk');
    const [p, v] = inputsOf(zoo, 'mid_block.attentions.0.transformer_blocks.0.attn2.sv');
    expect(axesOf(q)).toEqual(['channel 2: 32', 'pixel 1: 64']);
    expect(axesOf(k)).toEqual(['channel 1: 32', 'pixel 2: 16']);
    expect(axesOf(v)).toEqual(['channel 2: 32', 'pixel 1: 16']);
    expect(axesOf(p)).toEqual([]);
    expect(q?.scheme.spread?.groups).toBe(16);
    expect(zoo.plan.fixesSize).toBe(true);
    expect(zoo.plan.notices?.join()).toContain('calibrated size only');
  });

  it('leave the first and the last layer and vectors alone', () => {
    const zoo = planned({ grouping: { method: 'kmeans', fixedSize: true } });
    for (const ending of ['conv_in', 'conv_out', 'time_embedding.linear_1', 'mid_block.resnets.0.time_emb_proj']) {
      expect(axesOf(inputsOf(zoo, ending)[0])).toEqual([]);
    }
  });

  it('of pixels are refused where pictures may have any size', () => {
    expect(() => planned({ grouping: { method: 'kmeans', axis: 'pixel' } })).toThrow('one size of picture');
    const zoo = planned({ grouping: { method: 'kmeans', axis: 'pixel', fixedSize: true } });
    expect(axesOf(inputsOf(zoo, 'ff.net.2')[0])).toEqual(['pixel 1: 64']);
  });
});

describe('attention', () => {
  it('puts what comes out of a softmax on the logarithmic grid, always unsigned and found at run time', () => {
    const zoo = planned({ symmetric: true }, { bits: 4, probabilities: 'log-sqrt2' });
    const layers = layersWith(zoo, ({ scheme }) => scheme.grid !== undefined);
    expect(layers.map(({ name }) => name.endsWith('.sv'))).toEqual(new Array(8).fill(true));
    for (const { inputs } of layers) {
      expect(inputs[0]?.scheme).toEqual({
        ...{ bits: 4, symmetric: false, ranges: 'dynamic', groupSize: null, range: 'minmax' },
        grid: 'log-sqrt2',
      });
      expect(inputs[1]?.scheme).toMatchObject({ symmetric: true, ranges: 'timestep' });
    }
  });

  it('keeps the first token of keys and probabilities of cross-attention, of nothing else', () => {
    const zoo = planned({}, { keepFirstToken: true });
    const kept = layersWith(zoo, ({ scheme }) => scheme.floatFirst !== undefined);
    expect(kept.map(({ name }) => name.replace(/^.*(?=attn)/, ''))).toEqual(
      Array.from({ length: 4 }, () => ['attn2.qk', 'attn2.sv']).flat(),
    );
    for (const { name, inputs } of kept) {
      expect(inputs.map(({ scheme }) => scheme.floatFirst)).toEqual(
        name.endsWith('qk') ? [undefined, 2] : [2, undefined],
      );
    }
  });
});
