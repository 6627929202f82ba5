import { Graph, node } from '../../models/onnx/graph.js';
import { writeModel } from '../../models/onnx/model-proto.js';

/**
 * y = relu(x) of one number. An engine keeps a session of it as long as it lives: onnxruntime gives the WebGPU device and every
 * compiled shader away with the last session (on software Vulkan, 5 s of compiling for each session of the same model).
 */
export function anchorModel(): Uint8Array {
  const graph = new Graph();
  graph.inputs = [{ name: 'x', type: 'float32', shape: [1] }];
  graph.outputs = [{ name: 'y', type: 'float32', shape: [1] }];
  graph.nodes = [node('Relu', ['x'], ['y'], { name: 'relu' })];
  return writeModel(graph);
}
