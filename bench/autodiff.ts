import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type InferenceSession, Tensor as OrtTensor } from 'onnxruntime-node';
import { createSession } from '../activities/engine/session-factory.js';
import { buildBackward } from '../models/autodiff/build-backward.js';
import { makeTrainable } from '../models/autodiff/trainable-inputs.js';
import { foldConstants } from '../models/onnx/fold-constants.js';
import { attribute, type Graph, node } from '../models/onnx/graph.js';
import { readModel, writeModel } from '../models/onnx/model-proto.js';
import { inferShapes, type Shapes } from '../models/onnx/shape-inference.js';
import { gaussianTensor } from '../models/tensors/random.js';
import { int64, type Tensor } from '../models/tensors/tensor.js';

/**
 * What a gradient of the zoo's UNet costs: (forward + backward) / forward, all layer weights as inputs, loss = mean square of
 * the output. Run from the repository: `node dist/bench/autodiff.js [batch] [threads] [rounds]`. Rounds are interleaved and
 * medians are printed; only the ratio compares across machines.
 */
const batch = Number(process.argv[2] ?? 8);
const threads = Number(process.argv[3] ?? 1);
const rounds = Number(process.argv[4] ?? 15);

const UNET = 'models/zoo/emoji-t2i/unet/model.onnx';
const DIMS = { sample: [batch, 12, 16, 16], timestep: [batch], encoder_hidden_states: [batch, 16, 64] };

function layerWeights(graph: Graph): string[] {
  const layers = graph.nodes.filter((layer) => ['Conv', 'Gemm', 'MatMul'].includes(layer.opType));
  const weights = layers.map((layer) => layer.inputs[1] ?? '').filter((name) => graph.initializers.has(name));
  return [...new Set(weights)];
}

function trainingGraph(): { graph: Graph; shapes: Shapes; weights: Map<string, Tensor> } {
  const graph = readModel(readFileSync(join(process.cwd(), UNET)));
  const weights = makeTrainable(graph, layerWeights(graph));
  const output = graph.outputs[0]?.name ?? '';
  graph.insertNodes([
    node('Mul', [output, output], ['loss.square'], { name: 'loss.square' }),
    node('ReduceMean', ['loss.square'], ['loss'], { name: 'loss', attributes: { keepdims: attribute.int(0) } }),
  ]);
  graph.outputs = [{ name: 'loss', type: 'float32', shape: [] }];
  foldConstants(graph, inferShapes(graph, DIMS));
  return { graph, shapes: inferShapes(graph, DIMS), weights };
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

function ortFeeds(session: InferenceSession, feeds: ReadonlyMap<string, Tensor>): Record<string, OrtTensor> {
  return Object.fromEntries(
    session.inputNames.map((name) => {
      const value = feeds.get(name);
      if (value === undefined) throw new Error(`no feed for ${name}`);
      return [name, new OrtTensor(value.type, value.data as Float32Array, value.dims)];
    }),
  );
}

const { graph, shapes, weights } = trainingGraph();
const backward = graph.clone();
const started = performance.now();
const gradients = buildBackward(backward, shapes, { loss: 'loss', wrt: [...weights.keys()] });
const buildMs = performance.now() - started;
for (const [name, gradient] of gradients) {
  backward.outputs.push({ name: gradient, type: 'float32', shape: shapes.dimsOf(name) });
}
const feeds = new Map<string, Tensor>(weights);
feeds.set('sample', gaussianTensor(1, 1, DIMS.sample));
feeds.set('encoder_hidden_states', gaussianTensor(1, 2, DIMS.encoder_hidden_states));
feeds.set(
  'timestep',
  int64(
    [batch],
    Array.from({ length: batch }, (_, index) => (index * 997) % 1000),
  ),
);

const profile = process.env.AUTODIFF_PROFILE;
const settings = { device: 'cpu', threads, spinning: false, optimization: 'all' } as const;
const sessions = {
  forward: await createSession(writeModel(graph), settings),
  both: await createSession(writeModel(backward), {
    ...settings,
    ...(profile === undefined ? {} : { profilePrefix: profile }),
  }),
};
const times: Record<keyof typeof sessions, number[]> = { forward: [], both: [] };
for (let round = -2; round < rounds; round += 1) {
  for (const which of ['forward', 'both'] as const) {
    const session = sessions[which];
    const fed = ortFeeds(session, feeds);
    const start = performance.now();
    await session.run(fed);
    if (round >= 0) times[which].push(performance.now() - start);
  }
}
await sessions.forward.release();
await sessions.both.release();
const [forward, both] = [median(times.forward), median(times.both)];
console.log(`zoo UNet, batch ${batch}, ${threads} thread(s), ${rounds} interleaved rounds, medians`);
console.log(
  `nodes: forward ${graph.nodes.length}, with backward ${backward.nodes.length}; ${gradients.size} gradients; built in ${buildMs.toFixed(0)} ms`,
);
console.log(`forward            ${forward.toFixed(1)} ms`);
console.log(`forward + backward ${both.toFixed(1)} ms`);
console.log(`ratio              ${(both / forward).toFixed(2)}`);
