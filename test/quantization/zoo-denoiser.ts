import { readFileSync } from 'node:fs';
import type { Graph } from '../../models/onnx/graph.js';
import { readModel } from '../../models/onnx/model-proto.js';
import { inferShapes, type Shapes } from '../../models/onnx/shape-inference.js';
import { tensorFromInitializer } from '../../models/onnx/tensor-from-initializer.js';
import { asFloat32, type Float32Tensor } from '../../models/tensors/tensor.js';

/** The bundled text-to-image UNet, for tests that need real tensors. */
const file = new URL('../../models/zoo/emoji-t2i/unet/model.onnx', import.meta.url);

export const ZOO_INPUTS = { sample: 'sample', timestep: 'timestep', conditioning: 'encoder_hidden_states' } as const;

/** Batch 2, one timestep: what the planner wants. */
export const ZOO_DIMS = { sample: [2, 12, 16, 16], timestep: [1], encoder_hidden_states: [2, 16, 64] } as const;

export function zooDenoiser(): { graph: Graph; shapes: Shapes; bytes: Uint8Array } {
  const bytes = new Uint8Array(readFileSync(file));
  const graph = readModel(bytes);
  return { graph, shapes: inferShapes(graph, ZOO_DIMS), bytes };
}

export function weightOf(graph: Graph, name: string): Float32Tensor {
  const initializer = graph.initializers.get(name);
  if (initializer === undefined) throw new Error(`no initializer ${name}`);
  return asFloat32(tensorFromInitializer(initializer));
}
