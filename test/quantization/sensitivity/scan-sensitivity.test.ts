import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { EngineExecutor } from '../../../activities/engine/engine-executor.js';
import { ActivationObservers } from '../../../quantization/calibration/activation-observers.js';
import type { CalibrationSet } from '../../../quantization/calibration/calibration-set.js';
import { planAtBits } from '../../../quantization/sensitivity/plan-at-bits.js';
import {
  type ScanState,
  type SensitivityOptions,
  scanSensitivity,
} from '../../../quantization/sensitivity/scan-sensitivity.js';
import { errorAt, medianOwnError, type Sensitivity } from '../../../quantization/sensitivity/sensitivity.js';
import { sensitivityBatches, sensitivityItems } from '../../../quantization/sensitivity/sensitivity-items.js';
import { bundledRecipe, pipeline, prepareZoo } from '../quantized-zoo.js';
import { GUIDANCE, promptSets, zooCalibration } from '../zoo-calibration.js';
import { only, outputs, quantizedNetwork, relativeError } from './quantized-network.js';

/**
 * Two sessions of onnxruntime order the sums of one network differently, by parts in 10⁶ of its output; a 4-bit code on the
 * other side of a tie moves the error of one layer by parts in 10³ of itself.
 */
const SAME_ERROR = 0.02;

/** A shortcut with the widest skip connection, a shared input, a product of two activations, the last layer. */
const SCANNED = [
  'up_blocks.1.resnets.1.conv_shortcut.part0',
  'up_blocks.1.resnets.0.conv2',
  'mid_block.attentions.0.transformer_blocks.0.attn1.to_q',
  'mid_block.attentions.0.transformer_blocks.0.attn1.to_k',
  'mid_block.attentions.0.transformer_blocks.0.attn1.sv',
  'conv_out',
];

let executor: EngineExecutor;
let set: CalibrationSet;
beforeAll(async () => {
  executor = await EngineExecutor.start({ device: 'cpu', threads: 1 });
  set = await zooCalibration(executor, promptSets(3, 2).calibration, { steps: 4, timesteps: 4 });
});
afterAll(() => executor.close());

function zooOptions(): SensitivityOptions {
  const prepared = prepareZoo(bundledRecipe('w4a4-dynamic'));
  const plan = only(prepared.plan, (layer) => SCANNED.includes(layer.name));
  const { graph, shapes } = prepared;
  const scan = { bits: [4], items: 4, guidance: GUIDANCE, seed: 1, batchSize: 4 };
  const observers = new ActivationObservers();
  return { graph, shapes, plan, observers, calibration: set, denoiser: pipeline.denoiser, executor, ...scan };
}

function scannedLayer(found: Sensitivity, name: string) {
  const layer = found.layers.find((one) => one.name === name);
  if (layer === undefined) throw new Error(`${name} was not scanned`);
  return layer;
}

describe('the scan of the zoo denoiser', () => {
  let options: SensitivityOptions;
  let found: Sensitivity;
  const states: ScanState[] = [];
  beforeAll(async () => {
    options = zooOptions();
    found = await scanSensitivity({
      ...options,
      onProgress: async ({ state }) => {
        states.push(state());
      },
    });
  }, 120_000);

  it('measures what a network built with that one layer quantized has', async () => {
    const pairs = sensitivityItems(set, options.items, options.seed);
    const feeds = sensitivityBatches(set, pairs, pipeline.denoiser, options.batchSize).map((batch) => batch.feeds);
    const float = await outputs(executor, options.graph, feeds);
    const cases = [
      ['up_blocks.1.resnets.1.conv_shortcut.part0', 'activations', 4],
      ['up_blocks.1.resnets.0.conv2', 'weights', 4],
      ['mid_block.attentions.0.transformer_blocks.0.attn1.to_q', 'activations', 4],
      ['mid_block.attentions.0.transformer_blocks.0.attn1.sv', 'activations', 8],
    ] as const;
    for (const [name, part, bits] of cases) {
      const plan = planAtBits(
        only(options.plan, (layer) => layer.name === name),
        bits,
      );
      const expected = relativeError(
        float,
        await outputs(executor, await quantizedNetwork(options, plan, part), feeds),
      );
      const measured = errorAt(scannedLayer(found, name)[part], bits, 'output');
      expect(Math.abs(measured / expected - 1), `${name} ${part}`).toBeLessThan(SAME_ERROR);
    }
  });

  it('has a number for every layer, part and bits, and smaller ones at 8 bits', () => {
    expect(found.bits).toEqual([4, 8]);
    expect(found.layers.map(({ name }) => name).sort()).toEqual([...SCANNED].sort());
    for (const { name, weights, activations, ownErrors } of found.layers) {
      for (const errors of name.endsWith('.sv') ? [activations] : [weights, activations]) {
        expect(errorAt(errors, 8, 'output'), name).toBeLessThan(errorAt(errors, 4, 'output'));
        expect(errorAt(errors, 8, 'guided'), name).toBeLessThan(errorAt(errors, 4, 'guided'));
      }
      expect(ownErrors[1]?.error, name).toBeLessThan(ownErrors[0]?.error ?? 0);
    }
    expect(scannedLayer(found, SCANNED[4] ?? '').weights).toEqual([]);
  });

  it('sees that the skip connection’s shortcut is more sensitive than the attention’s queries', () => {
    const [shortcut, queries] = [scannedLayer(found, SCANNED[0] ?? ''), scannedLayer(found, SCANNED[2] ?? '')];
    expect(errorAt(shortcut.activations, 4, 'output')).toBeGreaterThan(10 * errorAt(queries.activations, 4, 'output'));
  });

  it('goes on from any point to the same result', async () => {
    for (const share of [0.3, 0.8]) {
      const resume = states[Math.floor(states.length * share)];
      const again = await scanSensitivity({ ...options, ...(resume === undefined ? {} : { resume }) });
      expect(JSON.stringify(again)).toBe(JSON.stringify(found));
    }
  });
});

describe('the layers’ own errors', () => {
  it('are measured without a scan, and their median rises as bits fall', async () => {
    const options = zooOptions();
    const medians: number[] = [];
    for (const bits of [8, 4, 2]) {
      const found = await scanSensitivity({ ...options, plan: planAtBits(options.plan, bits), bits: [] });
      expect(found.layers[0]?.weights).toEqual([]);
      medians.push(medianOwnError(found));
    }
    const [at8 = 0, at4 = 0, at2 = 0] = medians;
    expect(at8).toBeLessThan(0.01);
    expect(at4).toBeGreaterThan(10 * at8);
    expect(at2).toBeGreaterThan(3 * at4);
  });
});

describe('batches of the scan', () => {
  it('hold pairs of branches of one trajectory and timestep, spread over timesteps and trajectories', () => {
    const pairs = sensitivityItems(set, 8, 1);
    expect(pairs.map((pair) => pair.map(({ branch }) => branch))).toEqual(pairs.map(() => [0, 1]));
    expect(new Set(pairs.map(([first]) => first?.step)).size).toBe(4);
    expect(new Set(pairs.map(([first]) => first?.trajectory)).size).toBe(3);
    expect(new Set(pairs.map(([first]) => `${first?.trajectory} ${first?.step}`)).size).toBe(pairs.length);
  });

  it('have one timestep each for denoisers that take one', () => {
    const single = { ...pipeline.denoiser, timestepRows: 'one' as const };
    const batches = sensitivityBatches(set, sensitivityItems(set, 8, 1), single, 8);
    for (const { items } of batches) expect(new Set(items.map(({ step }) => step)).size).toBe(1);
  });
});
