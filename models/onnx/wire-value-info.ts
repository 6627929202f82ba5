import { create } from '@bufbuild/protobuf';
import { dataTypeName } from './data-type.js';
import { DATA_TYPE, type Dim, type ValueInfo } from './graph.js';
import {
  type TensorShapeProto_Dimension,
  TensorShapeProto_DimensionSchema,
  TensorShapeProtoSchema,
  TypeProto_TensorSchema,
  TypeProtoSchema,
  type ValueInfoProto,
  ValueInfoProtoSchema,
} from './onnx_pb.js';

/** The message a value info was read from, written again as it was. */
const wireForms = new WeakMap<ValueInfo, ValueInfoProto>();

/** ValueInfoProto → ValueInfo; undefined when the value is no tensor or its element type is not known. */
export function valueInfoFromProto(proto: ValueInfoProto): ValueInfo | undefined {
  const kind = proto.type?.value;
  if (kind?.case !== 'tensorType') return undefined;
  const type = dataTypeName(kind.value.elemType);
  if (type === undefined) return undefined;
  const info: ValueInfo = { name: proto.name, type, shape: kind.value.shape?.dim.map(dimFromProto) ?? null };
  wireForms.set(info, proto);
  return info;
}

/** ValueInfo → ValueInfoProto. */
export function protoFromValueInfo(info: ValueInfo): ValueInfoProto {
  const source = wireForms.get(info);
  if (source !== undefined) return source;
  const shape =
    info.shape === null
      ? undefined
      : create(TensorShapeProtoSchema, { dim: info.shape.map((dim) => protoFromDim(dim)) });
  const tensorType = create(TypeProto_TensorSchema, { elemType: DATA_TYPE[info.type], shape });
  return create(ValueInfoProtoSchema, {
    name: info.name,
    type: create(TypeProtoSchema, { value: { case: 'tensorType', value: tensorType } }),
  });
}

function dimFromProto(dim: TensorShapeProto_Dimension): Dim {
  if (dim.value.case === 'dimValue') return dim.value.value < 0n ? null : Number(dim.value.value);
  return dim.value.case === 'dimParam' && dim.value.value !== '' ? dim.value.value : null;
}

function protoFromDim(dim: Dim): TensorShapeProto_Dimension {
  if (dim === null) return create(TensorShapeProto_DimensionSchema);
  return typeof dim === 'number'
    ? create(TensorShapeProto_DimensionSchema, { value: { case: 'dimValue', value: BigInt(dim) } })
    : create(TensorShapeProto_DimensionSchema, { value: { case: 'dimParam', value: dim } });
}
