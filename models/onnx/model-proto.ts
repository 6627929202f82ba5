import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import { NibbleflowError } from '../../contracts/errors.js';
import type { ExternalReader } from './external-data.js';
import { Graph, type Initializer, type Node, type ValueInfo } from './graph.js';
import { uniqueNodeNames } from './name-nodes.js';
import {
  type GraphProto,
  GraphProtoSchema,
  type ModelProto,
  ModelProtoSchema,
  type NodeProto,
  NodeProtoSchema,
  type OperatorSetIdProto,
  OperatorSetIdProtoSchema,
  TensorProtoSchema,
  type ValueInfoProto,
} from './onnx_pb.js';
import { topologicalOrder } from './sort-topologically.js';
import { attributeFromProto, protoFromAttribute } from './wire-attribute.js';
import { withFields } from './wire-message.js';
import { initializerFromProto, protoHeadFromInitializer } from './wire-tensor.js';
import { protoFromValueInfo, valueInfoFromProto } from './wire-value-info.js';

/** The oldest opset of the standard operators that is understood. */
export const OLDEST_OPSET = 11;

export interface ReadModelOptions {
  /** File or component named in errors. */
  readonly where?: string;
  /** Reads a range of an external data file; locations are checked before it is called. */
  readonly external?: ExternalReader;
}

/**
 * Parses a serialized ModelProto. Constant bytes are views of `bytes`; initializers stored as typed fields or outside the
 * file become raw bytes; initializers that are also listed as inputs are constants. Nodes get unique names and topological
 * order; cycles and other defects of the graph itself are found by `checkModel`.
 * @throws NibbleflowError InvalidModel for anything that is not a readable ONNX model of opset ≥ 11.
 */
export function readModel(bytes: Uint8Array, options: ReadModelOptions = {}): Graph {
  const where = options.where ?? 'model';
  const model = parseModel(bytes, where);
  const source = model.graph;
  if (source === undefined) throw notOnnx(bytes, where);
  const graph = new Graph();
  graph.source = model;
  graph.name = source.name;
  readOpsets(graph, model.opsetImport, where);
  for (const proto of source.initializer) {
    if (graph.initializers.has(proto.name)) throw invalid(`Two tensors are called "${proto.name}"`, where);
    graph.initializers.set(proto.name, initializerFromProto(proto, where, options.external));
  }
  const fed = source.input.filter((input) => !graph.initializers.has(input.name));
  graph.inputs = fed.map((input) => readBoundary(input, 'input', where));
  graph.outputs = source.output.map((output) => readBoundary(output, 'output', where));
  for (const proto of source.valueInfo) {
    const info = valueInfoFromProto(proto);
    if (info !== undefined) graph.valueInfos.set(info.name, info);
  }
  const names = uniqueNodeNames(source.node);
  graph.nodes = source.node.map((proto, index) => readNode(proto, names[index] ?? '', where, options.external));
  const { sorted, blocked } = topologicalOrder(graph);
  if (blocked.length === 0) graph.nodes = sorted;
  return graph;
}

/** Serializes a graph; constant bytes are copied once, into the result. For files above 2 GB use `modelChunks`. */
export function writeModel(graph: Graph): Uint8Array {
  const chunks = [...modelChunks(graph)];
  const result = new Uint8Array(chunks.reduce((sum, chunk) => sum + chunk.byteLength, 0));
  let offset = 0;
  for (const chunk of chunks) {
    result.set(chunk, offset);
    offset += chunk.byteLength;
  }
  return result;
}

/** The serialized model piece by piece; the bytes of initializers are yielded as they are, without a copy. */
export function* modelChunks(graph: Graph): Iterable<Uint8Array> {
  const model = modelHead(graph);
  const graphHead = toBinary(GraphProtoSchema, graphProtoHead(graph));
  const tensors = [...graph.initializers.values()].map((initializer) => framedTensor(initializer));
  const size = tensors.reduce((sum, { head, raw }) => sum + head.byteLength + raw.byteLength, graphHead.byteLength);
  yield toBinary(ModelProtoSchema, model);
  yield new BinaryWriter().tag(GRAPH_FIELD, WireType.LengthDelimited).uint32(size).finish();
  yield graphHead;
  for (const { head, raw } of tensors) {
    yield head;
    if (raw.byteLength > 0) yield raw;
  }
}

/** Field numbers of onnx.proto: ModelProto.graph, GraphProto.initializer, TensorProto.raw_data. */
const GRAPH_FIELD = 7;
const INITIALIZER_FIELD = 5;
const RAW_DATA_FIELD = 9;

/** Field tag, length and everything of an initializer but its raw bytes, which follow. */
function framedTensor(initializer: Initializer): { head: Uint8Array; raw: Uint8Array } {
  const raw = initializer.type === 'string' ? new Uint8Array(0) : initializer.raw;
  const fields = toBinary(TensorProtoSchema, protoHeadFromInitializer(initializer));
  const rawHead =
    initializer.type === 'string'
      ? new Uint8Array(0)
      : new BinaryWriter().tag(RAW_DATA_FIELD, WireType.LengthDelimited).uint32(raw.byteLength).finish();
  const writer = new BinaryWriter().tag(INITIALIZER_FIELD, WireType.LengthDelimited);
  writer.uint32(fields.byteLength + rawHead.byteLength + raw.byteLength);
  return { head: writer.raw(fields).raw(rawHead).finish(), raw };
}

function parseModel(bytes: Uint8Array, where: string): ModelProto {
  try {
    return fromBinary(ModelProtoSchema, bytes);
  } catch (cause) {
    throw notOnnx(bytes, where, cause);
  }
}

function notOnnx(bytes: Uint8Array, where: string, cause?: unknown): NibbleflowError {
  const start = new TextDecoder().decode(bytes.subarray(0, 64));
  if (bytes.byteLength === 0) return invalid('The model file is empty', where);
  if (start.startsWith('version https://git-lfs')) {
    return new NibbleflowError('InvalidModel', 'The model file is a Git LFS pointer, not the model', {
      where,
      fix: 'Run `git lfs pull` in the folder it came from.',
      cause,
    });
  }
  return new NibbleflowError('InvalidModel', 'The file is not an ONNX model, or it is truncated', {
    where,
    fix: 'Export or download it again; nibbleflow reads serialized ONNX models (.onnx).',
    cause,
  });
}

function invalid(what: string, where: string): NibbleflowError {
  return new NibbleflowError('InvalidModel', what, { where, fix: 'Export or download the model again.' });
}

function readOpsets(graph: Graph, imports: readonly OperatorSetIdProto[], where: string): void {
  let standard: number | undefined;
  for (const { domain, version } of imports) {
    if (domain === '' || domain === 'ai.onnx') standard = Number(version);
    else graph.opsets.set(domain, Number(version));
  }
  if (standard === undefined) throw invalid('The model does not say which opset its operators are from', where);
  if (standard < OLDEST_OPSET) {
    throw new NibbleflowError(
      'InvalidModel',
      `The model has opset ${standard}; opset ${OLDEST_OPSET} or newer is needed`,
      {
        where,
        fix: 'Export it again with a newer opset (17 or above is best), or convert it with onnx.version_converter.',
      },
    );
  }
  graph.opset = standard;
}

function readBoundary(proto: ValueInfoProto, role: 'input' | 'output', where: string): ValueInfo {
  const info = valueInfoFromProto(proto);
  if (info !== undefined) return info;
  throw new NibbleflowError('InvalidModel', `Graph ${role} "${proto.name}" is no tensor of a known element type`, {
    where,
    fix: 'Only models whose inputs and outputs are typed tensors can be processed.',
  });
}

function readNode(proto: NodeProto, name: string, where: string, external: ExternalReader | undefined): Node {
  const attributes = proto.attribute.map((one) => [one.name, attributeFromProto(one, where, external)] as const);
  return {
    name,
    opType: proto.opType,
    domain: proto.domain === 'ai.onnx' ? '' : proto.domain,
    inputs: [...proto.input],
    outputs: [...proto.output],
    attributes: new Map(attributes),
    source: proto,
  };
}

/** The model around the graph. */
function modelHead(graph: Graph): ModelProto {
  const source = graph.source as ModelProto | undefined;
  const base = source ?? create(ModelProtoSchema, { producerName: 'nibbleflow' });
  const irVersion = BigInt(oldestIrVersion(graph.opset));
  return withFields(base, {
    irVersion: base.irVersion > irVersion ? base.irVersion : irVersion,
    opsetImport: opsetImports(graph, base.opsetImport),
    graph: undefined,
  });
}

function opsetImports(graph: Graph, existing: readonly OperatorSetIdProto[]): OperatorSetIdProto[] {
  const wanted = new Map([['', graph.opset], ...graph.opsets]);
  const result: OperatorSetIdProto[] = [];
  for (const [domain, version] of wanted) {
    const known = existing.find((one) => (one.domain === 'ai.onnx' ? '' : one.domain) === domain);
    const base = known ?? create(OperatorSetIdProtoSchema, { domain });
    result.push(withFields(base, { version: BigInt(version) }));
  }
  return result;
}

/** IR version that came with each opset (table "Released versions" of onnx/docs/Versioning.md). */
const IR_VERSIONS: readonly (readonly [opset: number, irVersion: number])[] = [
  [24, 12],
  [23, 11],
  [21, 10],
  [19, 9],
  [15, 8],
  [12, 7],
];

function oldestIrVersion(opset: number): number {
  return IR_VERSIONS.find(([since]) => opset >= since)?.[1] ?? 6;
}

/** Everything of the graph but its initializers. */
function graphProtoHead(graph: Graph): GraphProto {
  const source = (graph.source as ModelProto | undefined)?.graph;
  const notTensors = source?.valueInfo.filter((proto) => valueInfoFromProto(proto) === undefined) ?? [];
  const produced = new Set(graph.nodes.flatMap((node) => node.outputs));
  return withFields(source ?? create(GraphProtoSchema), {
    name: graph.name,
    node: graph.nodes.map(protoFromNode),
    initializer: [],
    input: graph.inputs.map(protoFromValueInfo),
    output: graph.outputs.map(protoFromValueInfo),
    valueInfo: [
      ...[...graph.valueInfos.values()].map(protoFromValueInfo),
      ...notTensors.filter((proto) => produced.has(proto.name)),
    ],
  });
}

/** A node as its wire message; fields that it was read with and that the Graph does not model are kept. */
export function protoFromNode(node: Node): NodeProto {
  const source = node.source as NodeProto | undefined;
  return withFields(source ?? create(NodeProtoSchema), {
    name: node.name,
    opType: node.opType,
    domain: node.domain === '' ? undefined : node.domain,
    input: node.inputs,
    output: node.outputs,
    attribute: [...node.attributes].map(([name, value]) => protoFromAttribute(name, value)),
  });
}
