import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { EngineExecutor } from '../../../activities/engine/engine-executor.js';
import type { Executor } from '../../../models/executor.js';
import { multiplyAdds } from '../../../models/onnx/macs.js';
import { inferShapes } from '../../../models/onnx/shape-inference.js';
import { bytesFromTensor, type Float32Tensor } from '../../../models/tensors/tensor.js';
import type { CalibrationItem, CalibrationSet } from '../../../quantization/calibration/calibration-set.js';
import {
  type CollectStatisticsOptions,
  collectStatistics,
} from '../../../quantization/calibration/collect-statistics.js';
import { type LayerStatistics, LayerStatisticsSum } from '../../../quantization/calibration/layer-statistics.js';
import { refitGraph } from '../../../quantization/calibration/refit-graph.js';
import { Validator } from '../../../quantization/finetuning/validator.js';
import { planningInputs } from '../../../quantization/plan-denoiser.js';
import {
  parametersFromTensors,
  type QuantizedParameters,
  tensorsFromParameters,
} from '../../../quantization/quantized-parameters.js';
import { addBranches, type LowRankSettings } from '../../../quantization/rounding/add-branches.js';
import { branchCost } from '../../../quantization/rounding/branch-cost.js';
import { branchableLayers } from '../../../quantization/rounding/branchable-layers.js';
import { refitOutputs } from '../../../quantization/rounding/refit-outputs.js';
import { tweakNorms } from '../../../quantization/rounding/tweak-norms.js';
import { bundledRecipe, convertZoo, pipeline, prepareZoo, randomlyCalibrated } from '../quantized-zoo.js';
import { promptSets, zooCalibration } from '../zoo-calibration.js';
import { ZOO_DIMS } from '../zoo-denoiser.js';

/** Few prompts and timesteps of the bundled pipeline; the evaluated calls are of other prompts. */
const PROMPTS = { calibration: 4, evaluation: 4 };
const STEPS = { steps: 6, timesteps: 3 };
const BUDGET = 0.1;
/** γ and β of 12 layer norms and 4 group norms in front of linear layers. */
const NORM_CONSTANTS = 32;

const prepared = prepareZoo(bundledRecipe('w4a4-dynamic'));
const layers = branchableLayers(prepared.graph, prepared.plan);
let executor: EngineExecutor;
let calibration: CalibrationSet;
let held: CalibrationSet;
let plain: QuantizedParameters;
let statistics: LayerStatistics;

beforeAll(async () => {
  executor = await EngineExecutor.start({ device: 'cpu', threads: 1 });
  const prompts = promptSets(PROMPTS.calibration, PROMPTS.evaluation);
  calibration = await zooCalibration(executor, prompts.calibration, STEPS);
  held = await zooCalibration(executor, prompts.evaluation, STEPS);
  plain = await randomlyCalibrated(executor, prepared, calibration.timesteps);
  statistics = (await collected()).means();
}, 240_000);
afterAll(() => executor.close());

function collected(change: Partial<CollectStatisticsOptions> = {}): Promise<LayerStatisticsSum> {
  return collectStatistics({
    executor: executor as Executor,
    ...prepared,
    parameters: plain,
    calibration,
    denoiser: pipeline.denoiser,
    layers,
    withSensitivity: true,
    seed: 1,
    batchSize: 4,
    ...change,
  });
}

function withBranches(settings: Partial<LowRankSettings> = {}): Promise<QuantizedParameters> {
  return addBranches(layers, {
    plan: prepared.plan,
    parameters: plain,
    statistics,
    settings: { macsBudget: BUDGET, layerShare: 1, weighting: 'output', ...settings },
  });
}

async function heldBackError(parameters: QuantizedParameters, of = prepared): Promise<number> {
  const items = Array.from({ length: 24 }, (_, index): CalibrationItem => {
    return { trajectory: index % 4, step: Math.floor(index / 4) % 3, branch: index % 2 };
  });
  const context = { executor, ...of, calibration: held, inputs: planningInputs(pipeline.denoiser) };
  const validator = await Validator.open(context, parameters, new Set(), items);
  const error = await validator.error({});
  await validator.release();
  return error;
}

function bytesOf(value: Float32Tensor | undefined): string {
  return Buffer.from(value === undefined ? new Uint8Array() : bytesFromTensor(value)).toString('base64');
}

/** Float32 sums of the same calls in other batches. */
const BATCHING = 1e-4;

describe('float side branches on the bundled denoiser', () => {
  test('take at least half off the network error of W4A4 for a tenth of its multiply-adds', async () => {
    const before = await heldBackError(plain);
    const after = await heldBackError(await withBranches());
    const byLayer = await heldBackError(await withBranches({ weighting: 'layer' }));
    expect(after / before).toBeLessThan(0.5);
    expect(after).toBeLessThan(byLayer);
    expect(byLayer).toBeLessThan(before);
  }, 240_000);

  test('the first-order effects of the layers add up to what quantized inputs do, within a factor of two', async () => {
    const effect = [...statistics.effects.values()].reduce((sum, value) => sum + value, 0);
    const energy = held.outputs.data.reduce((sum, value) => sum + value * value, 0);
    const calls = held.outputs.data.length / held.outputs.dims.slice(3).reduce((product, dim) => product * dim, 1);
    // Eight-bit weights: a 256th of a 4-bit weight's error, so that inputs alone are left.
    const fine = prepareZoo(bundledRecipe('w4a4-dynamic', { weights: { bits: 8 } }));
    const error = await heldBackError(await randomlyCalibrated(executor, fine, calibration.timesteps), fine);
    const predicted = effect / (energy / calls);
    expect(predicted / error).toBeGreaterThan(0.5);
    expect(predicted / error).toBeLessThan(2);
  }, 240_000);

  test('refitted outputs and tweaked norms lower the error of other prompts a little, too', async () => {
    const moments = await collected({ build: refitGraph, withSensitivity: false });
    const refitted = await heldBackError(refitOutputs(layers, plain, moments));
    const shapes = inferShapes(prepared.graph, ZOO_DIMS);
    const tweaked = await tweakNorms({ ...prepared, shapes, parameters: plain, statistics });
    expect(tweaked.norms?.size).toBe(NORM_CONSTANTS);
    const before = await heldBackError(plain);
    expect(refitted).toBeLessThan(before);
    expect(await heldBackError(tweaked)).toBeLessThan(before);
  }, 240_000);

  test('cost what was counted: the multiply-adds of the converted graph and its float16 bytes', async () => {
    const parameters = await withBranches();
    const cost = branchCost(prepared.plan, parameters);
    const graph = convertZoo(prepared, parameters);
    const shapes = inferShapes(graph, { sample: [1, 12, 16, 16], timestep: [1], encoder_hidden_states: [1, 16, 64] });
    const before = inferShapes(prepared.graph, {
      sample: [1, 12, 16, 16],
      timestep: [1],
      encoder_hidden_states: [1, 16, 64],
    });
    const macs = (nodes: typeof graph.nodes, of: typeof shapes): number =>
      nodes.reduce((sum, node) => sum + multiplyAdds(node, of), 0);
    const [own, all] = [macs(prepared.graph.nodes, before), macs(graph.nodes, shapes)];
    expect(Math.abs((all - own) / own - (cost?.macs ?? 0))).toBeLessThan(1e-9);
    expect(cost?.macs).toBeLessThanOrEqual(BUDGET);
    expect(cost?.macs).toBeGreaterThan(BUDGET - 1e-3);
    const halves = [...graph.initializers.values()].filter(({ type }) => type === 'float16');
    expect(halves.reduce((sum, { raw }) => sum + raw.byteLength, 0)).toBe(cost?.bytes);
  }, 60_000);

  test('survive storage bit for bit', async () => {
    const { branches } = await withBranches();
    const back = parametersFromTensors(tensorsFromParameters({ ...plain, branches })).branches;
    expect([...back.keys()]).toEqual([...branches.keys()]);
    for (const [name, { down, up }] of branches) {
      const found = back.get(name);
      expect(bytesOf(found?.down)).toBe(bytesOf(down));
      expect(up.dims).toEqual(found?.up.dims);
    }
  });

  test('statistics that go on from a checkpoint are those of one go', async () => {
    let half: Map<string, unknown> | undefined;
    const options = { ...prepared, parameters: plain, calibration, denoiser: pipeline.denoiser };
    const whole = await collectStatistics({
      ...{ executor: executor as Executor, ...options, layers: layers.slice(0, 3), withSensitivity: true },
      ...{ seed: 1, batchSize: 4 },
      onBatch: async (done, _total, sum) => {
        if (done === 12) half = new Map([...sum.toTensors()].map(([key, value]) => [key, structuredClone(value)]));
      },
    });
    const resumed = await collectStatistics({
      ...{ executor: executor as Executor, ...options, layers: layers.slice(0, 3), withSensitivity: true },
      ...{ seed: 1, batchSize: 4 },
      resume: { sum: LayerStatisticsSum.fromTensors(half as Map<string, never>), calls: 12 },
    });
    expect([...resumed.means().effects]).toEqual([...whole.means().effects]);
    // Smaller batches, as after running out of memory, look at the same calls with the same probes.
    const halved = await collectStatistics({
      ...{ executor: executor as Executor, ...options, layers: layers.slice(0, 3), withSensitivity: true },
      ...{ seed: 1, batchSize: 2 },
      resume: { sum: LayerStatisticsSum.fromTensors(half as Map<string, never>), calls: 12 },
    });
    for (const [name, effect] of whole.means().effects) {
      expect(Math.abs((halved.means().effects.get(name) ?? 0) - effect)).toBeLessThanOrEqual(BATCHING * effect);
    }
  });
});
