import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { EngineExecutor } from '../../../../activities/engine/engine-executor.js';
import { Graph } from '../../../../models/onnx/graph.js';
import { writeModel } from '../../../../models/onnx/model-proto.js';
import { NodeEmitter } from '../../../../models/onnx/node-emitter.js';
import { MASK_INPUTS, RandomMasks } from '../../../../quantization/rounding/reconstruction/random-masks.js';

const SHAPES = [
  [4, 8, 5, 3],
  [2, 1000],
] as const;
/** Standard deviations that a share of independent draws may be away from its probability. */
const SIGMAS = 4;

let executor: EngineExecutor;
beforeAll(async () => {
  executor = await EngineExecutor.start({ device: 'cpu', threads: 1 });
});
afterAll(() => executor.close());

function maskGraph(probability: number): { graph: Graph; masks: RandomMasks } {
  const graph = new Graph();
  const emitter = new NodeEmitter(graph, 'test');
  const masks = new RandomMasks(emitter);
  graph.outputs = SHAPES.map((dims) => ({ name: masks.keep(dims, probability), type: 'float32', shape: [...dims] }));
  masks.declareInputs();
  return { graph, masks };
}

/** The elements of every mask at some steps. */
async function draw(probability: number, seed: number, steps: readonly number[]): Promise<number[][]> {
  const { graph, masks } = maskGraph(probability);
  const runnable = await executor.open(writeModel(graph));
  const drawn: number[][] = [];
  for (const step of steps) {
    const feeds = { [MASK_INPUTS.tape]: masks.tape(seed), [MASK_INPUTS.offsets]: masks.offsets(seed, step) };
    const found = await runnable.run(feeds);
    drawn.push(graph.outputs.flatMap(({ name }) => Array.from(found[name]?.data ?? [], Number)));
  }
  await runnable.release();
  return drawn;
}

describe('random masks', () => {
  it.each([0.5, 0.2])('leave out a share of %d', async (probability) => {
    const [first = [], second = []] = await draw(probability, 9, [0, 1]);
    expect(first).toHaveLength(480 + 2000);
    expect(new Set(first)).toEqual(new Set([0, 1]));
    for (const values of [first, second]) {
      const left = values.filter((value) => value === 0).length;
      const deviation = Math.sqrt(probability * (1 - probability) * values.length);
      expect(Math.abs(left - probability * values.length)).toBeLessThan(SIGMAS * deviation);
    }
  });

  it('are the same for the same seed and step, and others for every other step and seed', async () => {
    const [first = [], other = []] = await draw(0.5, 9, [3, 4]);
    const [again = []] = await draw(0.5, 9, [3]);
    const [reseeded = []] = await draw(0.5, 10, [3]);
    expect(again).toEqual(first);
    const differing = (values: readonly number[]): number => values.filter((value, at) => value !== first[at]).length;
    // Independent fair bits differ in half of the places.
    for (const values of [other, reseeded]) expect(differing(values)).toBeGreaterThan(0.4 * first.length);
  });
});
