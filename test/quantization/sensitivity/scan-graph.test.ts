import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { EngineExecutor } from '../../../activities/engine/engine-executor.js';
import type { Feeds } from '../../../models/executor.js';
import { writeModel } from '../../../models/onnx/model-proto.js';
import { asFloat32, type Tensor, tensor } from '../../../models/tensors/tensor.js';
import { ActivationObservers } from '../../../quantization/calibration/activation-observers.js';
import { roundParameters } from '../../../quantization/rounding/round-parameters.js';
import { buildScanGraph } from '../../../quantization/sensitivity/scan-graph.js';
import { bundledRecipe, pipeline, prepareZoo, randomFeeds } from '../quantized-zoo.js';
import { only, relativeError } from './quantized-network.js';

/** float32 sums of one network in two sessions. */
const SAME_OUTPUT = 1e-10;

/** Part of a layer's own effect by which two lowerings may differ: single codes on the other side of a tie. */
const SAME_SHARE = 0.05;

const LAYERS = ['down_blocks.0.resnets.0.conv1', 'mid_block.attentions.0.transformer_blocks.0.attn1.qk'];

let executor: EngineExecutor;
beforeAll(async () => {
  executor = await EngineExecutor.start({ device: 'cpu', threads: 1 });
});
afterAll(() => executor.close());

describe('the graph with switches', () => {
  it('is the float network with all of them off, changes with each, and means the same with If as with Where', async () => {
    const prepared = prepareZoo(bundledRecipe('w4a4-dynamic'));
    const plan = only(prepared.plan, ({ name }) => LAYERS.includes(name));
    const { graph, shapes } = prepared;
    const observers = new ActivationObservers();
    const parameters = await roundParameters({ graph, plan, observers, timesteps: [] });
    const feeds = randomFeeds(500);
    const session = async (model: Uint8Array, work: (run: (more: Feeds) => Promise<Float32Array>) => Promise<void>) => {
      const runnable = await executor.open(model);
      await work(async (more) => {
        const found = await runnable.run({ ...feeds, ...more }, [pipeline.denoiser.output]);
        return asFloat32(found[pipeline.denoiser.output] as Tensor).data;
      });
      await runnable.release();
    };
    const outputsOf = async (select: 'branch' | 'both'): Promise<Float32Array[]> => {
      const spec = { graph, shapes, plan, parameters, timestep: pipeline.denoiser.inputs.timestep, select };
      const scan = buildScanGraph(spec);
      const weights = Object.fromEntries(
        [...scan.weights].map(([layer, input]) => [input, parameters.weights.get(layer)?.weight as Tensor]),
      );
      const found: Float32Array[] = [];
      await session(writeModel(scan.graph), async (run) => {
        for (const on of [null, ...LAYERS]) {
          const switches = [...scan.switches].flatMap(([layer, names]) =>
            names.map((name) => [name, tensor('bool', [], Uint8Array.of(layer === on ? 1 : 0))] as const),
          );
          found.push(await run({ ...weights, ...Object.fromEntries(switches) }));
        }
      });
      return found;
    };
    let float = new Float32Array(0);
    await session(writeModel(graph), async (run) => {
      float = (await run({})) as Float32Array<ArrayBuffer>;
    });
    const [branch, both] = [await outputsOf('branch'), await outputsOf('both')];
    for (const [off = float, ...each] of [branch, both]) {
      expect(relativeError([float], [off])).toBeLessThan(SAME_OUTPUT);
      for (const output of each) expect(relativeError([float], [output])).toBeGreaterThan(100 * SAME_OUTPUT);
    }
    for (const [index, output] of branch.entries()) {
      const change = relativeError([float], [output]);
      const difference = relativeError([output], [both[index] ?? new Float32Array(0)]);
      expect(difference).toBeLessThan(SAME_OUTPUT + SAME_SHARE * change);
    }
  });
});
