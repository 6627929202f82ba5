import { create, fromBinary } from '@bufbuild/protobuf';
import { describe, expect, it } from 'vitest';
import { DATA_TYPE, type DataTypeName, type Initializer } from '../../../models/onnx/graph.js';
import { readModel, writeModel } from '../../../models/onnx/model-proto.js';
import {
  AttributeProto_AttributeType,
  AttributeProtoSchema,
  GraphProtoSchema,
  ModelProtoSchema,
  NodeProtoSchema,
  StringStringEntryProtoSchema,
  type TensorProto,
  TensorProto_DataLocation,
  TensorProtoSchema,
} from '../../../models/onnx/onnx_pb.js';
import { tensorFromInitializer } from '../../../models/onnx/tensor-from-initializer.js';
import { changedControl, errorOf, graphOf, MALFORMED } from './damaged-models.js';
import { modelBytes } from './onnx-models.js';

type TensorFields = Partial<Omit<TensorProto, '$typeName' | '$unknown'>>;

/** The initializer read from a file that holds this tensor. */
function read(
  fields: TensorFields,
  external?: (location: string, offset: number, length: number) => Uint8Array,
): Initializer {
  const bytes = changedControl((_, graph) =>
    graph.initializer.push(create(TensorProtoSchema, { name: 'extra', ...fields })),
  );
  const options = external === undefined ? { where: 'm.onnx' } : { where: 'm.onnx', external };
  const found = readModel(bytes, options).initializers.get('extra');
  if (found === undefined) throw new Error('the tensor was not read');
  return found;
}

function externalFields(entries: Record<string, string>, dims = [2n, 3n]): TensorFields {
  return {
    dims,
    dataType: DATA_TYPE.float32,
    dataLocation: TensorProto_DataLocation.EXTERNAL,
    externalData: Object.entries(entries).map(([key, value]) => create(StringStringEntryProtoSchema, { key, value })),
  };
}

describe('tensors of a model', () => {
  it.each<[DataTypeName, TensorFields, readonly (number | bigint)[]]>([
    ['float32', { floatData: [1.5, -2] }, [1.5, -2]],
    ['float64', { doubleData: [1.5, -2] }, [1.5, -2]],
    ['int64', { int64Data: [-5n, 2n ** 60n] }, [-5n, 2n ** 60n]],
    ['uint64', { uint64Data: [5n, 2n ** 63n] }, [5n, 2n ** 63n]],
    ['uint32', { uint64Data: [5n, 2n ** 32n - 1n] }, [5, 2 ** 32 - 1]],
    ['int32', { int32Data: [-5, 7] }, [-5, 7]],
    ['int16', { int32Data: [-5, 7] }, [-5, 7]],
    ['uint16', { int32Data: [65535, 7] }, [65535, 7]],
    ['int8', { int32Data: [-5, 7] }, [-5, 7]],
    ['uint8', { int32Data: [255, 7] }, [255, 7]],
    ['bool', { int32Data: [1, 0] }, [1, 0]],
    ['float16', { int32Data: [0x3c00, 0xc000] }, [0x3c00, 0xc000]],
  ])('reads %s from its typed field', (type, fields, expected) => {
    const initializer = read({ ...fields, dims: [2n], dataType: DATA_TYPE[type] });
    expect(Array.from(tensorFromInitializer(initializer).data as ArrayLike<number | bigint>)).toEqual(expected);
  });

  it.each<[DataTypeName, number[], number[]]>([
    ['int4', [3], [0x21, 0x0f]],
    ['uint4', [4], [0x21, 0xff]],
    ['float8e4m3fn', [2], [0x38, 0xb8]],
    ['bfloat16', [1], [0x80, 0x3f]],
  ])('keeps the bits of %s', (type, dims, raw) => {
    const int32Data = type === 'bfloat16' ? [0x3f80] : raw;
    expect(Array.from(read({ dims: dims.map(BigInt), dataType: DATA_TYPE[type], int32Data }).raw)).toEqual(raw);
    const asRaw = read({ dims: dims.map(BigInt), dataType: DATA_TYPE[type], rawData: Uint8Array.from(raw) });
    expect(Array.from(asRaw.raw)).toEqual(raw);
  });

  it('writes strings as it read them', () => {
    const text = new TextEncoder().encode('bytes');
    const bytes = changedControl((_, graph) =>
      graph.initializer.push(
        create(TensorProtoSchema, { name: 's', dataType: DATA_TYPE.string, dims: [1n], stringData: [text] }),
      ),
    );
    expect(readModel(writeModel(readModel(bytes))).initializers.get('s')?.type).toBe('string');
    expect(Buffer.from(writeModel(readModel(bytes))).includes('bytes')).toBe(true);
  });

  it.each<[string, TensorFields, string]>([
    [
      'too little data',
      { dims: [3n], dataType: 1, floatData: [1] },
      'has 4 bytes of data, its type and dims ask for 12',
    ],
    ['an unknown type', { dims: [1n], dataType: 99 }, 'unknown element type 99'],
    ['a negative dim', { dims: [-1n], dataType: 1 }, 'has the dims [-1]'],
    ['more elements than memory', { dims: [2n ** 40n, 2n ** 40n], dataType: 1 }, 'impossible dims'],
  ])('refuses %s', (_, fields, message) => {
    const error = errorOf(() => read(fields));
    expect([error.kind, error.where]).toEqual(['InvalidModel', 'm.onnx']);
    expect(error.message).toContain(message);
  });
});

describe('external data', () => {
  const file = new Uint8Array(new Float32Array([9, 1, 2, 3, 4, 5, 6]).buffer);
  const range = (_: string, offset: number, length: number) => file.subarray(offset, offset + length);

  it('reads the range that the entry names', () => {
    const asked: unknown[] = [];
    const initializer = read(
      externalFields({ location: './sub//w.bin', offset: '4', length: '24' }),
      (location, offset, length) => {
        asked.push([location, offset, length]);
        return range(location, offset, length);
      },
    );
    expect(asked).toEqual([['sub/w.bin', 4, 24]]);
    expect(Array.from(tensorFromInitializer(initializer).data as Float32Array)).toEqual([1, 2, 3, 4, 5, 6]);
  });

  it('takes the length from the dims when the entry has none', () => {
    expect(read(externalFields({ location: 'w.bin' }), range).raw.byteLength).toBe(24);
  });

  it.each([
    ['leaves the folder', { location: '../w.bin' }],
    ['leaves the folder', { location: 'a/../../w.bin' }],
    ['leaves the folder', { location: '/etc/hostname' }],
    ['leaves the folder', { location: 'C:/w.bin' }],
    ['leaves the folder', { location: '..\\w.bin' }],
    ['leaves the folder', { location: 'a\0b' }],
    ['leaves the folder', { location: '' }],
    ['is no byte count', { location: 'w.bin', offset: '-4' }],
    ['is no byte count', { location: 'w.bin', length: '1e3' }],
    ['needs 24 bytes', { location: 'w.bin', length: '20' }],
    ['is too short', { location: 'w.bin', offset: '8' }],
    ['is too short', { location: 'w.bin', offset: '4000000000000' }],
  ])('refuses data that %s: %o', (message, entries) => {
    const touched: string[] = [];
    const error = errorOf(() =>
      read(externalFields(entries), (location, offset, length) => {
        touched.push(location);
        return range(location, offset, length);
      }),
    );
    expect(error.kind).toBe('InvalidModel');
    expect(error.message).toContain(message);
    if (message === 'leaves the folder') expect(touched).toEqual([]);
  });

  it('moves the data of subgraphs into the model', () => {
    const bytes = changedControl((_, graph) => {
      const tensor = create(TensorProtoSchema, {
        name: 'inner',
        ...externalFields({ location: 'w.bin', offset: '4' }),
      });
      const g = create(GraphProtoSchema, { initializer: [tensor] });
      const attribute = [create(AttributeProtoSchema, { name: 'body', type: AttributeProto_AttributeType.GRAPH, g })];
      graph.node.push(create(NodeProtoSchema, { opType: 'Loop', output: ['z'], attribute }));
    });
    const written = graphOf(fromBinary(ModelProtoSchema, writeModel(readModel(bytes, { external: range }))));
    const inner = written.node.at(-1)?.attribute[0]?.g?.initializer[0];
    expect(inner?.dataLocation).toBe(TensorProto_DataLocation.DEFAULT);
    expect(inner?.externalData).toEqual([]);
    expect(Buffer.compare(inner?.rawData ?? new Uint8Array(), file.subarray(4))).toBe(0);
  });

  it('says which file is missing', () => {
    const missing = () => {
      throw new Error('ENOENT');
    };
    const error = errorOf(() =>
      readModel(modelBytes(`${MALFORMED}/external_missing_file.onnx`), { where: 'unet', external: missing }),
    );
    expect(error.message).toContain('"not_here.bin"');
    expect(error.where).toBe('unet');
  });
});
