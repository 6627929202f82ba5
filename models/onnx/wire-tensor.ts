import { create } from '@bufbuild/protobuf';
import { NibbleflowError } from '../../contracts/errors.js';
import { bitsPerElement, dataTypeName, rawByteLength } from './data-type.js';
import { type ExternalReader, readExternalTensor } from './external-data.js';
import { DATA_TYPE, type DataTypeName, type Initializer } from './graph.js';
import { type TensorProto, TensorProto_DataLocation, TensorProtoSchema } from './onnx_pb.js';
import { withFields } from './wire-message.js';

/** The message an initializer was read from: its doc string, metadata, unknown fields and string data are written again. */
const wireForms = new WeakMap<Initializer, TensorProto>();

/**
 * TensorProto → Initializer. raw_data stays a view of the file; typed fields (float_data, int32_data …) and external data
 * become raw bytes.
 * @throws NibbleflowError InvalidModel for unknown types, negative dims, data that does not fit the dims, bad external data.
 */
export function initializerFromProto(
  proto: TensorProto,
  where: string,
  external: ExternalReader | undefined,
): Initializer {
  const type = dataTypeName(proto.dataType);
  if (type === undefined) throw invalidTensor(proto, `has the unknown element type ${proto.dataType}`, where);
  if (proto.segment !== undefined) throw invalidTensor(proto, 'is stored in segments, which nothing supports', where);
  const dims = proto.dims.map((dim) => Number(dim));
  if (dims.some((dim) => dim < 0 || !Number.isSafeInteger(dim))) {
    throw invalidTensor(proto, `has the dims [${dims.join(', ')}]`, where);
  }
  const initializer = { name: proto.name, type, dims, raw: rawBytes(proto, type, dims, where, external) };
  wireForms.set(initializer, proto);
  return initializer;
}

/** Initializer → TensorProto without raw_data, which the caller writes behind it (field 9). */
export function protoHeadFromInitializer(initializer: Initializer): TensorProto {
  const source = wireForms.get(initializer);
  if (initializer.type === 'string' && source === undefined) {
    throw new Error(`string tensor "${initializer.name}" can only be written as it was read`);
  }
  return withFields(source ?? create(TensorProtoSchema), {
    name: initializer.name,
    dataType: DATA_TYPE[initializer.type],
    dims: initializer.dims.map((dim) => BigInt(dim)),
    floatData: [],
    int32Data: [],
    int64Data: [],
    uint64Data: [],
    doubleData: [],
    externalData: [],
    rawData: undefined,
    dataLocation: undefined,
  });
}

/** Initializer → complete TensorProto (for attributes). */
export function protoFromInitializer(initializer: Initializer): TensorProto {
  const head = protoHeadFromInitializer(initializer);
  return initializer.type === 'string' ? head : withFields(head, { rawData: initializer.raw });
}

function rawBytes(
  proto: TensorProto,
  type: DataTypeName,
  dims: readonly number[],
  where: string,
  external: ExternalReader | undefined,
): Uint8Array {
  if (type === 'string') return new Uint8Array(0);
  const expected = rawByteLength(type, dims);
  if (!Number.isSafeInteger(expected))
    throw invalidTensor(proto, `has the impossible dims [${dims.join(', ')}]`, where);
  if (proto.dataLocation === TensorProto_DataLocation.EXTERNAL) {
    return readExternalTensor(proto, expected, external, where);
  }
  const bytes = proto.rawData.byteLength > 0 ? proto.rawData : typedBytes(proto, type);
  if (bytes.byteLength !== expected) {
    throw invalidTensor(proto, `has ${bytes.byteLength} bytes of data, its type and dims ask for ${expected}`, where);
  }
  return bytes;
}

/** The typed repeated fields as raw bytes: which field holds which type is fixed by onnx.proto. */
function typedBytes(proto: TensorProto, type: DataTypeName): Uint8Array {
  switch (type) {
    case 'float32':
    case 'complex64':
      return bytesOf(Float32Array.from(proto.floatData));
    case 'float64':
    case 'complex128':
      return bytesOf(Float64Array.from(proto.doubleData));
    case 'int64':
      return bytesOf(BigInt64Array.from(proto.int64Data));
    case 'uint64':
      return bytesOf(BigUint64Array.from(proto.uint64Data));
    case 'uint32':
      return bytesOf(Uint32Array.from(proto.uint64Data, (value) => Number(value)));
    case 'int32':
      return bytesOf(Int32Array.from(proto.int32Data));
    default:
      return bitsPerElement(type) === 16
        ? bytesOf(Uint16Array.from(proto.int32Data))
        : Uint8Array.from(proto.int32Data);
  }
}

function bytesOf(view: ArrayBufferView): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}

function invalidTensor(proto: TensorProto, what: string, where: string): NibbleflowError {
  return new NibbleflowError('InvalidModel', `Tensor "${proto.name}" ${what}`, {
    where,
    fix: 'The file is damaged or was written by a faulty exporter; export or download it again.',
  });
}
