import { create } from '@bufbuild/protobuf';
import type { ExternalReader } from './external-data.js';
import type { Attribute } from './graph.js';
import {
  type AttributeProto,
  AttributeProtoSchema,
  type GraphProto,
  AttributeProto_AttributeType as Kind,
  type TensorProto,
  TensorProto_DataLocation,
} from './onnx_pb.js';
import { initializerFromProto, protoFromInitializer } from './wire-tensor.js';

/** The message an attribute was read from; an attribute is immutable, so the same object is written as it was read. */
const wireForms = new WeakMap<Attribute, AttributeProto>();

const UTF8_DECODER = new TextDecoder();
const UTF8_ENCODER = new TextEncoder();

/** AttributeProto → Attribute; subgraphs, type protos, sparse tensors and references to function attributes stay opaque. */
export function attributeFromProto(
  proto: AttributeProto,
  where: string,
  external: ExternalReader | undefined,
): Attribute {
  const attribute = convert(proto, where, external);
  wireForms.set(attribute, proto);
  return attribute;
}

/** Attribute → AttributeProto called `name`. */
export function protoFromAttribute(name: string, attribute: Attribute): AttributeProto {
  const source = wireForms.get(attribute);
  if (source !== undefined && source.name === name) return source;
  switch (attribute.kind) {
    case 'int':
      return create(AttributeProtoSchema, { name, type: Kind.INT, i: BigInt(attribute.value) });
    case 'float':
      return create(AttributeProtoSchema, { name, type: Kind.FLOAT, f: attribute.value });
    case 'string':
      return create(AttributeProtoSchema, { name, type: Kind.STRING, s: UTF8_ENCODER.encode(attribute.value) });
    case 'ints':
      return create(AttributeProtoSchema, { name, type: Kind.INTS, ints: attribute.value.map((one) => BigInt(one)) });
    case 'floats':
      return create(AttributeProtoSchema, { name, type: Kind.FLOATS, floats: [...attribute.value] });
    case 'strings':
      return create(AttributeProtoSchema, {
        name,
        type: Kind.STRINGS,
        strings: attribute.value.map((one) => UTF8_ENCODER.encode(one)),
      });
    case 'tensor':
      return create(AttributeProtoSchema, { name, type: Kind.TENSOR, t: protoFromInitializer(attribute.value) });
    case 'opaque':
      return attribute.value as AttributeProto;
  }
}

function convert(proto: AttributeProto, where: string, external: ExternalReader | undefined): Attribute {
  if (proto.refAttrName !== '') return { kind: 'opaque', value: proto };
  switch (attributeType(proto)) {
    case Kind.INT:
      return { kind: 'int', value: Number(proto.i) };
    case Kind.FLOAT:
      return { kind: 'float', value: proto.f };
    case Kind.STRING:
      return { kind: 'string', value: UTF8_DECODER.decode(proto.s) };
    case Kind.INTS:
      return { kind: 'ints', value: proto.ints.map((one) => Number(one)) };
    case Kind.FLOATS:
      return { kind: 'floats', value: [...proto.floats] };
    case Kind.STRINGS:
      return { kind: 'strings', value: proto.strings.map((one) => UTF8_DECODER.decode(one)) };
    case Kind.TENSOR:
      return proto.t === undefined
        ? { kind: 'opaque', value: proto }
        : { kind: 'tensor', value: initializerFromProto(proto.t, where, external) };
    default:
      for (const graph of proto.g === undefined ? proto.graphs : [proto.g, ...proto.graphs]) {
        embedExternalData(graph, where, external);
      }
      return { kind: 'opaque', value: proto };
  }
}

/** Tensors of subgraphs that lie in other files move into the message, so that it can be written elsewhere. */
function embedExternalData(graph: GraphProto, where: string, external: ExternalReader | undefined): void {
  const embedded = (tensor: TensorProto) =>
    tensor.dataLocation === TensorProto_DataLocation.EXTERNAL
      ? protoFromInitializer(initializerFromProto(tensor, where, external))
      : tensor;
  graph.initializer = graph.initializer.map(embedded);
  for (const attribute of graph.node.flatMap((node) => node.attribute)) {
    if (attribute.t !== undefined) attribute.t = embedded(attribute.t);
    for (const inner of attribute.g === undefined ? attribute.graphs : [attribute.g, ...attribute.graphs]) {
      embedExternalData(inner, where, external);
    }
  }
}

/** The declared type, or for files older than IR version 2 the type of the field that is set. */
function attributeType(proto: AttributeProto): Kind {
  if (proto.type !== Kind.UNDEFINED) return proto.type;
  if (Object.hasOwn(proto, 'f')) return Kind.FLOAT;
  if (Object.hasOwn(proto, 'i')) return Kind.INT;
  if (Object.hasOwn(proto, 's')) return Kind.STRING;
  if (proto.t !== undefined) return Kind.TENSOR;
  if (proto.ints.length > 0) return Kind.INTS;
  if (proto.floats.length > 0) return Kind.FLOATS;
  if (proto.strings.length > 0) return Kind.STRINGS;
  return Kind.UNDEFINED;
}
