import { readFileSync } from 'node:fs';
import { type InferenceSession, Tensor as OrtTensor } from 'onnxruntime-node';
import { createSession } from '../../activities/engine/session-factory.js';
import { buildBackward } from '../../models/autodiff/build-backward.js';
import { makeTrainable } from '../../models/autodiff/trainable-inputs.js';
import { foldConstants } from '../../models/onnx/fold-constants.js';
import { attribute, type Graph, node } from '../../models/onnx/graph.js';
import { readModel, writeModel } from '../../models/onnx/model-proto.js';
import { inferShapes, type Shapes } from '../../models/onnx/shape-inference.js';
import { gaussianTensor } from '../../models/tensors/random.js';
import { int64, type Tensor } from '../../models/tensors/tensor.js';

/** The UNet of the bundled pipeline with loss = mean(output²) and the weights of all its layers as inputs. */
export const UNET = 'models/zoo/emoji-t2i/unet/model.onnx';

const WEIGHTED: ReadonlySet<string> = new Set(['Conv', 'Gemm', 'MatMul']);

export interface ZooStep {
  /** Forward and loss; the loss is the only output. */
  readonly graph: Graph;
  readonly shapes: Shapes;
  readonly weights: readonly string[];
  readonly feeds: ReadonlyMap<string, Tensor>;
  /** Names of those feeds that are the model's inputs. */
  readonly inputs: readonly string[];
}

/** Call from the repository. Inputs are seeded noise. */
export function zooStep(batch: number): ZooStep {
  const graph = readModel(readFileSync(UNET));
  const layers = graph.nodes.filter((layer) => WEIGHTED.has(layer.opType));
  const named = layers.map((layer) => layer.inputs[1] ?? '').filter((name) => graph.initializers.has(name));
  const weights = [...new Set(named)];
  const feeds = new Map<string, Tensor>(makeTrainable(graph, weights));
  const output = graph.outputs[0]?.name ?? '';
  graph.insertNodes([
    node('Mul', [output, output], ['loss.square'], { name: 'loss.square' }),
    node('ReduceMean', ['loss.square'], ['loss'], { name: 'loss', attributes: { keepdims: attribute.int(0) } }),
  ]);
  graph.outputs = [{ name: 'loss', type: 'float32', shape: [] }];
  const dims = { sample: [batch, 12, 16, 16], timestep: [batch], encoder_hidden_states: [batch, 16, 64] };
  foldConstants(graph, inferShapes(graph, dims));
  feeds.set('sample', gaussianTensor(1, 1, dims.sample));
  feeds.set('encoder_hidden_states', gaussianTensor(1, 2, dims.encoder_hidden_states));
  const timesteps = Array.from({ length: batch }, (_, index) => (index * 997) % 1000);
  feeds.set('timestep', int64([batch], timesteps));
  return { graph, shapes: inferShapes(graph, dims), weights, feeds, inputs: Object.keys(dims) };
}

/** The graph with its backward part; outputs are the loss and the gradients, in the order of the weights. */
export function withGradients({ graph, shapes, weights }: ZooStep): { graph: Graph; gradients: string[] } {
  const both = graph.clone();
  const found = buildBackward(both, shapes, { loss: 'loss', wrt: weights });
  const gradients = weights.map((name) => {
    const gradient = found.get(name) ?? '';
    both.outputs.push({ name: gradient, type: 'float32', shape: shapes.dimsOf(name) });
    return gradient;
  });
  return { graph: both, gradients };
}

export interface OpenStep {
  /** Outputs named in `updates` are what the next run reads for those inputs. */
  run(updates?: ReadonlyMap<string, string>): Promise<InferenceSession.ReturnType>;
  release(): Promise<void>;
}

/** A session of the product's own factory that runs on these feeds. */
export async function openStep(
  graph: Graph,
  feeds: ReadonlyMap<string, Tensor>,
  threads: number,
  profilePrefix?: string,
): Promise<OpenStep> {
  const settings = { device: 'cpu', threads, spinning: false, optimization: 'all', memoryPattern: false } as const;
  const session = await createSession(
    writeModel(graph),
    profilePrefix === undefined ? settings : { ...settings, profilePrefix },
  );
  const fed = Object.fromEntries(
    session.inputNames.map((name) => {
      const value = feeds.get(name);
      if (value === undefined) throw new Error(`no feed for ${name}`);
      return [name, new OrtTensor(value.type, value.data as Float32Array, value.dims)];
    }),
  );
  return {
    async run(updates = new Map()) {
      const results = await session.run(fed);
      for (const [input, output] of updates) fed[input] = results[output] as OrtTensor;
      return results;
    },
    release: () => session.release(),
  };
}
