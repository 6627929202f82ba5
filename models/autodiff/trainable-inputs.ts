import { NibbleflowError } from '../../contracts/errors.js';
import type { Graph } from '../onnx/graph.js';
import { tensorFromInitializer } from '../onnx/tensor-from-initializer.js';
import type { Tensor } from '../tensors/tensor.js';

/**
 * Turns initializers into plain graph inputs of the same name, so that training can feed them: onnxruntime ignores what is
 * fed for an initializer, even when it is listed as an input too. Call before shape inference and constant folding.
 *
 * @returns the initial values to feed.
 * @throws NibbleflowError InvalidModel naming every name that is no initializer.
 */
export function makeTrainable(graph: Graph, names: readonly string[]): Map<string, Tensor> {
  const missing = names.filter((name) => !graph.initializers.has(name));
  if (missing.length > 0) {
    throw new NibbleflowError('InvalidModel', `No initializer is named ${missing.join(', ')}`, { where: graph.name });
  }
  const values = new Map<string, Tensor>();
  for (const name of names) {
    const initializer = graph.initializers.get(name);
    if (initializer === undefined) continue;
    values.set(name, tensorFromInitializer(initializer));
    graph.initializers.delete(name);
    if (!graph.inputs.some((input) => input.name === name)) {
      graph.inputs.push({ name, type: initializer.type, shape: initializer.dims });
    }
  }
  return values;
}
