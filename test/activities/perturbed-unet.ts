import type { Graph } from '../../models/onnx/graph.js';
import { initializerFromTensor } from '../../models/onnx/graph.js';
import { tensorFromInitializer } from '../../models/onnx/tensor-from-initializer.js';
import { gaussianTensor } from '../../models/tensors/random.js';
import { float32 } from '../../models/tensors/tensor.js';

/** The graph with noise on its float matrices, `share` of each one's root mean square: a stand-in for what quantization does. */
export function perturbed(graph: Graph, share: number): Graph {
  for (const [stream, initializer] of [...graph.initializers.values()].entries()) {
    if (initializer.type !== 'float32' || initializer.dims.length < 2) continue;
    const data = tensorFromInitializer(initializer).data as Float32Array;
    const size = Math.sqrt(data.reduce((sum, value) => sum + value * value, 0) / data.length);
    const noise = gaussianTensor(5, stream, [data.length]).data;
    const moved = data.map((value, i) => value + share * size * (noise[i] as number));
    graph.initializers.set(initializer.name, initializerFromTensor(initializer.name, float32(initializer.dims, moved)));
  }
  return graph;
}
