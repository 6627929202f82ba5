import { fromBinary, toBinary } from '@bufbuild/protobuf';
import { NibbleflowError } from '../../../contracts/errors.js';
import { type GraphProto, type ModelProto, ModelProtoSchema } from '../../../models/onnx/onnx_pb.js';
import { modelBytes } from './onnx-models.js';

export const MALFORMED = 'test/golden/malformed/onnx';

export function graphOf(model: ModelProto): GraphProto {
  if (model.graph === undefined) throw new Error('the model has no graph');
  return model.graph;
}

/** The valid control model of the malformed set, changed. */
export function changedControl(edit: (model: ModelProto, graph: GraphProto) => unknown): Uint8Array {
  const model = fromBinary(ModelProtoSchema, modelBytes(`${MALFORMED}/ok_control.onnx`));
  edit(model, graphOf(model));
  return toBinary(ModelProtoSchema, model);
}

/** The NibbleflowError that `action` must throw. */
export function errorOf(action: () => unknown): NibbleflowError {
  try {
    action();
  } catch (error) {
    if (error instanceof NibbleflowError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}
