import { create } from '@bufbuild/protobuf';
import type { Attribute, Node } from './graph.js';
import { protoFromNode } from './model-proto.js';
import type { NodeEmitter } from './node-emitter.js';
import {
  type AttributeProto,
  AttributeProtoSchema,
  GraphProtoSchema,
  AttributeProto_AttributeType as Kind,
} from './onnx_pb.js';
import { protoFromValueInfo } from './wire-value-info.js';

export interface Choice {
  /** Scalar bool. */
  readonly condition: string;
  /** Nodes, in topological order, that are computed only when the condition holds; they may read values of the graph. */
  readonly nodes: readonly Node[];
  /** The float32 value that they make. */
  readonly whenTrue: string;
  /** A float32 value of the graph. */
  readonly otherwise: string;
}

/**
 * Emits ONNX If: `whenTrue` of a branch of its own, or a copy of `otherwise`. The nodes of a branch cost nothing while the
 * condition is false. They must not be in the graph any more.
 * @returns the chosen value
 */
export function emitIf({ condition, nodes, whenTrue, otherwise }: Choice, emitter: NodeEmitter): string {
  const copy = emitter.unique('copy');
  const identity: Node = {
    name: copy,
    opType: 'Identity',
    domain: '',
    inputs: [otherwise],
    outputs: [copy],
    attributes: new Map(),
  };
  return emitter.emit(
    'If',
    [condition],
    {
      then_branch: branch('then_branch', nodes, whenTrue),
      else_branch: branch('else_branch', [identity], copy),
    },
    'chosen',
  );
}

function branch(name: string, nodes: readonly Node[], output: string): Attribute {
  const g = create(GraphProtoSchema, {
    name,
    node: nodes.map(protoFromNode),
    output: [protoFromValueInfo({ name: output, type: 'float32', shape: null })],
  });
  const value: AttributeProto = create(AttributeProtoSchema, { name, type: Kind.GRAPH, g });
  return { kind: 'opaque', value };
}
