import { create, createRegistry, equals, fromBinary, toBinary } from '@bufbuild/protobuf';
import { WireType } from '@bufbuild/protobuf/wire';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { NibbleflowError } from '../../../contracts/errors.js';
import { checkModel } from '../../../models/onnx/check-model.js';
import { Graph, initializerFromTensor, node } from '../../../models/onnx/graph.js';
import { modelChunks, readModel, writeModel } from '../../../models/onnx/model-proto.js';
import {
  AttributeProto_AttributeType,
  AttributeProtoSchema,
  FunctionProtoSchema,
  file_onnx,
  type GraphProto,
  type ModelProto,
  ModelProtoSchema,
  NodeProtoSchema,
  SparseTensorProtoSchema,
  StringStringEntryProtoSchema,
  TensorAnnotationSchema,
  TensorProtoSchema,
} from '../../../models/onnx/onnx_pb.js';
import { float32 } from '../../../models/tensors/tensor.js';
import { changedControl, errorOf, graphOf, MALFORMED } from './damaged-models.js';
import { GOLDEN_MODELS, modelBytes, ZOO_MODELS } from './onnx-models.js';

const EXTERNAL_DATA_MODEL = 'test/golden/pipelines/ddpm_uncond_dynamo/unet/model.onnx';

const REGISTRY = createRegistry(file_onnx);

/** A field that onnx.proto does not know. */
function unknownField(no: number) {
  return { no, wireType: WireType.LengthDelimited, data: Uint8Array.of(3, 110, 101, 119) };
}

/** Puts everything that the Graph does not model into a model. */
function addUnmodelled(model: ModelProto, graph: GraphProto): void {
  const note = () => create(StringStringEntryProtoSchema, { key: 'k', value: 'v' });
  for (const [index, message] of [
    model,
    graph,
    ...graph.node,
    ...graph.initializer,
    ...graph.input,
    ...graph.output,
  ].entries()) {
    message.$unknown = [unknownField(1000 + index)];
    message.docString = `text ${index}`;
  }
  for (const message of [model, graph, ...graph.node, ...graph.initializer, ...graph.input])
    message.metadataProps = [note()];
  graph.sparseInitializer.push(
    create(SparseTensorProtoSchema, {
      values: create(TensorProtoSchema, { name: 'sparse', dataType: 1, dims: [1n], floatData: [2] }),
      indices: create(TensorProtoSchema, { dataType: 7, dims: [1n], int64Data: [0n] }),
      dims: [4n],
    }),
  );
  graph.quantizationAnnotation.push(
    create(TensorAnnotationSchema, { tensorName: graph.initializer[0]?.name, quantParameterTensorNames: [note()] }),
  );
  const branch = graphOf(fromBinary(ModelProtoSchema, modelBytes(`${MALFORMED}/ok_control.onnx`)));
  const thenBranch = create(AttributeProtoSchema, {
    name: 'then_branch',
    type: AttributeProto_AttributeType.GRAPH,
    g: branch,
  });
  thenBranch.$unknown = [unknownField(2000)];
  const wide = create(AttributeProtoSchema, {
    name: 'wide',
    type: AttributeProto_AttributeType.INT,
    i: 2n ** 62n + 1n,
  });
  const conditional = { name: 'conditional', opType: 'If', overload: 'o', input: [], output: ['unread'] };
  graph.node.push(create(NodeProtoSchema, { ...conditional, attribute: [thenBranch, wide] }));
  model.functions.push(
    create(FunctionProtoSchema, { name: 'f', domain: 'own', node: [create(NodeProtoSchema, { opType: 'Relu' })] }),
  );
}

describe('reading and writing models', () => {
  it.each([...ZOO_MODELS, ...GOLDEN_MODELS].filter((path) => path !== EXTERNAL_DATA_MODEL))(
    'writes the message it read from %s',
    (path) => {
      const bytes = modelBytes(path);
      const written = writeModel(readModel(bytes, { where: path }));
      const [before, after] = [fromBinary(ModelProtoSchema, bytes), fromBinary(ModelProtoSchema, written)];
      expect(equals(ModelProtoSchema, after, before, { unknown: true, registry: REGISTRY })).toBe(true);
    },
  );

  it('keeps unknown fields, functions, annotations, subgraphs, sparse tensors, doc strings and metadata', () => {
    const bytes = changedControl((model, graph) => addUnmodelled(model, graph));
    const before = fromBinary(ModelProtoSchema, bytes);
    const after = fromBinary(ModelProtoSchema, writeModel(readModel(bytes)));
    expect(after.$unknown?.length).toBe(1);
    expect(equals(ModelProtoSchema, after, before, { unknown: true, registry: REGISTRY })).toBe(true);
  });

  it('keeps the doc string of a node whose attributes and inputs were edited', () => {
    const graph = readModel(changedControl((model, proto) => addUnmodelled(model, proto)));
    const [first] = graph.nodes;
    first?.inputs.reverse();
    first?.attributes.set('extra', { kind: 'int', value: 7 });
    const written = graphOf(fromBinary(ModelProtoSchema, writeModel(graph))).node[0];
    expect(written?.docString).toBe('text 2');
    expect(written?.attribute.map((one) => [one.name, one.i])).toContainEqual(['extra', 7n]);
  });

  it('writes constants without copying them', () => {
    const weight = float32([1000], new Float32Array(1000));
    const graph = new Graph();
    graph.addInitializer(initializerFromTensor('w', weight));
    graph.outputs = [{ name: 'y', type: 'float32', shape: [1000] }];
    graph.nodes = [node('Relu', ['w'], ['y'], { name: 'relu' })];
    const chunks = [...modelChunks(graph)];
    expect(chunks.some((chunk) => chunk.buffer === weight.data.buffer && chunk.byteLength === 4000)).toBe(true);
    expect(Buffer.concat(chunks).equals(writeModel(graph))).toBe(true);
  });

  it.each([
    [11, 6],
    [17, 8],
    [21, 10],
  ])('declares for opset %i at least IR version %i', (opset, irVersion) => {
    const graph = new Graph();
    graph.opset = opset;
    const model = fromBinary(ModelProtoSchema, writeModel(graph));
    expect([model.irVersion, model.opsetImport.map((one) => one.version)]).toEqual([
      BigInt(irVersion),
      [BigInt(opset)],
    ]);
  });

  it('raises the IR version when the opset was raised, and keeps a newer one', () => {
    const graph = readModel(modelBytes(ZOO_MODELS[3] ?? ''));
    graph.opset = 21;
    graph.opsets.set('com.example', 2);
    const model = fromBinary(ModelProtoSchema, writeModel(graph));
    expect(model.irVersion).toBe(10n);
    expect(model.opsetImport.map((one) => [one.domain, one.version])).toEqual([
      ['', 21n],
      ['com.example', 2n],
    ]);
    const newer = readModel(changedControl((proto) => Object.assign(proto, { irVersion: 12n })));
    expect(fromBinary(ModelProtoSchema, writeModel(newer)).irVersion).toBe(12n);
  });

  it('names nodes without a name by operator and position, and makes repeated names unique', () => {
    const bytes = changedControl((_, graph) => {
      const again = (name: string, index: number) =>
        create(NodeProtoSchema, {
          name,
          opType: 'Relu',
          input: [graph.input[0]?.name ?? ''],
          output: [`extra${index}`],
        });
      graph.node = [again('', 0), again('twin', 1), again('twin', 2), again('twin_1', 3), again('', 4)];
    });
    const names = readModel(bytes).nodes.map((one) => one.name);
    expect(names).toEqual(['Relu_0', 'twin', 'twin_2', 'twin_1', 'Relu_4']);
  });

  it('brings nodes into topological order', () => {
    const ordered = readModel(modelBytes(ZOO_MODELS[3] ?? ''));
    const model = fromBinary(ModelProtoSchema, modelBytes(ZOO_MODELS[3] ?? ''));
    graphOf(model).node.reverse();
    const graph = readModel(toBinary(ModelProtoSchema, model));
    expect(() => checkModel(graph)).not.toThrow();
    expect(new Set(graph.nodes.map((one) => one.name))).toEqual(new Set(ordered.nodes.map((one) => one.name)));
  });

  it('takes initializers that are listed as inputs for constants', () => {
    const graph = readModel(
      changedControl((_, proto) => {
        const [input] = proto.input;
        const [weight] = proto.initializer;
        if (input !== undefined && weight !== undefined) proto.input.push({ ...input, name: weight.name });
      }),
    );
    expect(graph.inputs.map((one) => one.name).filter((name) => graph.initializers.has(name))).toEqual([]);
  });
});

describe('refusing files', () => {
  it('refuses any truncation and any damaged byte with InvalidModel, or reads a graph', () => {
    const bytes = modelBytes(`${MALFORMED}/ok_control.onnx`);
    const outcome = (damaged: Uint8Array) => {
      try {
        checkModel(readModel(damaged, { where: 'damaged.onnx' }));
      } catch (error) {
        if (!(error instanceof NibbleflowError)) throw error;
        expect([error.kind, error.message.split('\n').length]).toEqual(['InvalidModel', 2]);
      }
    };
    for (let length = 0; length < bytes.byteLength; length += 1) outcome(bytes.slice(0, length));
    const edits = fc.array(fc.tuple(fc.nat(bytes.byteLength - 1), fc.nat(255)), { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(edits, (changes) => {
        const damaged = bytes.slice();
        for (const [at, value] of changes) damaged[at] = value;
        outcome(damaged);
      }),
      { numRuns: 2000, seed: 4 },
    );
  });

  it('refuses opset 10 and says which one is needed', () => {
    const error = errorOf(() =>
      readModel(
        changedControl((model) => model.opsetImport.map((one) => Object.assign(one, { version: 10n }))),
        { where: 'old.onnx' },
      ),
    );
    expect([error.kind, error.where]).toEqual(['InvalidModel', 'old.onnx']);
    expect(error.message).toContain('opset 10; opset 11 or newer is needed');
  });

  it.each([
    ['a Git LFS pointer', 'version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n', 'Git LFS pointer'],
    ['text', '<!DOCTYPE html><html><body>Not found</body></html>', 'not an ONNX model'],
    ['nothing', '', 'empty'],
  ])('refuses %s', (_, text, message) => {
    expect(errorOf(() => readModel(new TextEncoder().encode(text))).message).toContain(message);
  });

  it('refuses two tensors of one name, inputs that are no tensors, and models without an opset', () => {
    const twice = changedControl((_, graph) => graph.initializer.push(...graph.initializer.slice(0, 1)));
    expect(errorOf(() => readModel(twice)).message).toContain('Two tensors are called');
    const untyped = changedControl((_, graph) => graph.input.map((one) => Object.assign(one, { type: undefined })));
    expect(errorOf(() => readModel(untyped)).message).toContain('no tensor of a known element type');
    const noOpset = changedControl((model) => model.opsetImport.splice(0));
    expect(errorOf(() => readModel(noOpset)).message).toContain('does not say which opset');
  });
});
