import { elementCount } from '../tensors/tensor.js';
import { DATA_TYPE, type DataTypeName } from './graph.js';

const NAME_BY_CODE: ReadonlyMap<number, DataTypeName> = new Map(
  (Object.entries(DATA_TYPE) as [DataTypeName, number][]).map(([name, code]) => [code, name]),
);

/** The name of a TensorProto.DataType code; undefined for codes this build does not know. */
export function dataTypeName(code: number): DataTypeName | undefined {
  return NAME_BY_CODE.get(code);
}

const BITS: Record<DataTypeName, number> = {
  float32: 32,
  uint8: 8,
  int8: 8,
  uint16: 16,
  int16: 16,
  int32: 32,
  int64: 64,
  string: 0,
  bool: 8,
  float16: 16,
  float64: 64,
  uint32: 32,
  uint64: 64,
  complex64: 64,
  complex128: 128,
  bfloat16: 16,
  float8e4m3fn: 8,
  float8e4m3fnuz: 8,
  float8e5m2: 8,
  float8e5m2fnuz: 8,
  uint4: 4,
  int4: 4,
  float4e2m1: 4,
  float8e8m0: 8,
  uint2: 2,
  int2: 2,
};

/** Bits one element takes in raw_data (strings: 0, they are stored otherwise). */
export function bitsPerElement(type: DataTypeName): number {
  return BITS[type];
}

/** Bytes of raw_data for a tensor of this type and dims; elements below a byte are packed without gaps. */
export function rawByteLength(type: DataTypeName, dims: readonly number[]): number {
  return Math.ceil((elementCount(dims) * BITS[type]) / 8);
}
