import { NibbleflowError, nearestName } from '../../contracts/errors.js';
import { readModel, writeModel } from '../../models/onnx/model-proto.js';
import { removeDeadCode } from '../../models/onnx/remove-dead-code.js';
import type { ExtractorSpec } from './extractor-spec.js';

/**
 * The extractor's model with the declared layers as its outputs, and only those. It is another graph for the runtime, which
 * may fuse it differently: features are taken of the model as it is.
 * @param model bytes of a model without external data
 * @throws NibbleflowError InvalidModel when the spec declares no layers, or one that the graph does not have
 */
export function withLayerOutputs(model: Uint8Array, spec: ExtractorSpec): Uint8Array {
  const layers = spec.layers ?? [];
  if (layers.length === 0) {
    throw new NibbleflowError('InvalidModel', 'the extractor declares no layers for an LPIPS-style distance', {
      where: spec.name,
      fix: 'Name values of its graph under "layers" in extractor.json.',
    });
  }
  const graph = readModel(model, { where: spec.name });
  const values = new Set(graph.nodes.flatMap((node) => node.outputs));
  for (const { name } of layers) {
    if (values.has(name)) continue;
    const nearest = nearestName(name, values);
    throw new NibbleflowError('InvalidModel', `the extractor's graph has no value '${name}'`, {
      where: spec.name,
      fix: nearest === undefined ? undefined : `Did you mean '${nearest}'?`,
    });
  }
  const known = new Map(graph.outputs.map((output) => [output.name, output]));
  graph.outputs = layers.map(({ name }) => known.get(name) ?? { name, type: 'float32', shape: null });
  removeDeadCode(graph);
  return writeModel(graph);
}
