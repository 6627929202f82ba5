import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { EngineExecutor } from '../../../activities/engine/engine-executor.js';
import { Graph } from '../../../models/onnx/graph.js';
import { writeModel } from '../../../models/onnx/model-proto.js';
import { NodeEmitter } from '../../../models/onnx/node-emitter.js';
import { sortTopologically } from '../../../models/onnx/sort-topologically.js';
import { uniforms } from '../../../models/tensors/random.js';
import { float32, int64, zeros } from '../../../models/tensors/tensor.js';
import { nearestTimestep } from '../../../quantization/calibration/timestep-plan.js';
import { TimestepIndex } from '../../../quantization/conversion/timestep-index.js';

/** Trailing DDIM timesteps of 20 steps, and tables in other orders and with equal distances. */
const TABLES: Readonly<Record<string, readonly number[]>> = {
  sampler: Array.from({ length: 20 }, (_, index) => 999 - 50 * index),
  increasing: [1, 3, 8, 40, 500],
  shuffled: [500, 20, 980, 260],
  one: [321],
  fractional: [0.25, 0.75, 0.5],
};

let executor: EngineExecutor;
beforeAll(async () => {
  executor = await EngineExecutor.start({ device: 'cpu', threads: 1 });
});
afterAll(async () => {
  await executor.close();
});

interface IndexCase {
  readonly table: readonly number[];
  readonly timestep: readonly number[];
  /** Rows of the values whose indices are asked for, each under its own key. */
  readonly rows: Readonly<Record<string, number>>;
  readonly type?: 'float32' | 'int64';
  readonly optimization?: 'disabled' | 'all';
}

async function indices(one: IndexCase): Promise<number[][]> {
  const { type = 'float32', optimization = 'all', timestep } = one;
  const graph = new Graph();
  const keys = Object.entries(one.rows);
  graph.inputs = [
    { name: 't', type, shape: ['steps'] },
    ...keys.map(([key]) => ({ name: `v.${key}`, type: 'float32' as const, shape: [`${key}_rows`, 2] })),
  ];
  const emitter = new NodeEmitter(graph, 'q');
  const index = new TimestepIndex(emitter, 't', one.table);
  const outputs = keys.map(([key]) => emitter.at('out').emit('Identity', [index.rowsOf(`v.${key}`, key)], {}, key));
  graph.outputs = outputs.map((name) => ({ name, type: 'int64', shape: null }));
  sortTopologically(graph);
  const runnable = await executor.open(writeModel(graph), { optimization });
  const feeds = {
    t: type === 'int64' ? int64([timestep.length], timestep) : float32([timestep.length], timestep),
    ...Object.fromEntries(keys.map(([key, rows]) => [`v.${key}`, zeros('float32', [rows, 2])])),
  };
  const used = Object.fromEntries(Object.entries(feeds).filter(([name]) => runnable.inputNames.includes(name)));
  const found = await runnable.run(used);
  await runnable.release();
  return outputs.map((name) => Array.from(found[name]?.data ?? [], Number));
}

describe('TimestepIndex', () => {
  for (const [name, table] of Object.entries(TABLES)) {
    it(`picks what nearestTimestep picks: ${name} table`, async () => {
      const spread = Math.max(...table) - Math.min(...table);
      const random = Array.from(uniforms(3, 0, 200), (u) => Math.fround(Math.min(...table) + (1.4 * u - 0.2) * spread));
      const halves = table.flatMap((a) => table.map((b) => (a + b) / 2));
      const timestep = [...table, ...halves, ...random, -1000, 0, 1e6];
      for (const optimization of ['disabled', 'all'] as const) {
        const [found] = await indices({ table, timestep, rows: { batch: timestep.length }, optimization });
        expect(found).toEqual(timestep.map((t) => nearestTimestep(table, t)));
      }
    });
  }

  it('takes whole timesteps as int64', async () => {
    const table = TABLES.sampler as readonly number[];
    const timestep = Array.from({ length: 1000 }, (_, t) => t);
    const [found] = await indices({ table, timestep, rows: { batch: 1000 }, type: 'int64' });
    expect(found).toEqual(timestep.map((t) => nearestTimestep(table, t)));
  });

  it('takes the smaller index of two equally near entries', async () => {
    const [down, up] = await Promise.all([
      indices({ table: [10, 20], timestep: [15], rows: { batch: 1 } }),
      indices({ table: [20, 10], timestep: [15], rows: { batch: 1 } }),
    ]);
    expect([down, up]).toEqual([[[0]], [[0]]]);
  });

  it('serves one timestep for a whole batch, one per sample, and heads of samples', async () => {
    const table = [900, 500, 100];
    const rows = { batch: 4, heads: 8, timestep: 1 };
    expect(await indices({ table, timestep: [480], rows })).toEqual([[1, 1, 1, 1], [1, 1, 1, 1, 1, 1, 1, 1], [1]]);
    const perSample = { table, timestep: [480, 5, 999, 101], rows: { ...rows, timestep: 4 } };
    expect(await indices(perSample)).toEqual([
      [1, 2, 0, 2],
      [1, 1, 2, 2, 0, 0, 2, 2],
      [1, 2, 0, 2],
    ]);
  });

  it('computes the nearest entry once and expands it once for values of equally many rows', () => {
    const graph = new Graph();
    const index = new TimestepIndex(new NodeEmitter(graph, 'q'), 't', [1, 2]);
    const first = index.rowsOf('a', 'batch');
    const nodes = graph.nodes.length;
    expect(index.rowsOf('b', 'batch')).toBe(first);
    expect(graph.nodes.length).toBe(nodes);
    index.rowsOf('c', 'rows8');
    expect(graph.nodes.filter((node) => node.opType === 'ArgMin').length).toBe(1);
  });
});
