/**
 * Dense tensors: row-major (C order), dims as in ONNX; a scalar has dims [].
 * Element types are the ones onnxruntime-node can carry; float16 is stored as its 16 bits in a Uint16Array.
 */

export interface TensorData {
  float32: Float32Array;
  float64: Float64Array;
  float16: Uint16Array;
  int64: BigInt64Array;
  uint64: BigUint64Array;
  int32: Int32Array;
  uint32: Uint32Array;
  int16: Int16Array;
  uint16: Uint16Array;
  int8: Int8Array;
  uint8: Uint8Array;
  bool: Uint8Array;
}

export type ElementType = keyof TensorData;

export interface Tensor<T extends ElementType = ElementType> {
  readonly type: T;
  readonly dims: readonly number[];
  readonly data: TensorData[T];
}

export type Float32Tensor = Tensor<'float32'>;

const ARRAY_CONSTRUCTORS = {
  float32: Float32Array,
  float64: Float64Array,
  float16: Uint16Array,
  int64: BigInt64Array,
  uint64: BigUint64Array,
  int32: Int32Array,
  uint32: Uint32Array,
  int16: Int16Array,
  uint16: Uint16Array,
  int8: Int8Array,
  uint8: Uint8Array,
  bool: Uint8Array,
} as const;

/** Every element type a tensor can have. */
export const ELEMENT_TYPES: ReadonlySet<string> = new Set(Object.keys(ARRAY_CONSTRUCTORS));

/** Number of elements of a tensor with these dims. */
export function elementCount(dims: readonly number[]): number {
  return dims.reduce((product, dim) => product * dim, 1);
}

/** Wraps `data`; throws when its length does not fit `dims`. */
export function tensor<T extends ElementType>(type: T, dims: readonly number[], data: TensorData[T]): Tensor<T> {
  if (data.length !== elementCount(dims)) {
    throw new RangeError(
      `tensor of dims [${dims.join(', ')}] needs ${elementCount(dims)} elements, got ${data.length}`,
    );
  }
  return { type, dims: [...dims], data };
}

/** A float32 tensor from numbers. */
export function float32(dims: readonly number[], values: ArrayLike<number>): Float32Tensor {
  return tensor('float32', dims, values instanceof Float32Array ? values : Float32Array.from(values));
}

/** An int64 tensor from numbers. */
export function int64(dims: readonly number[], values: ArrayLike<number>): Tensor<'int64'> {
  return tensor('int64', dims, BigInt64Array.from(Array.from(values, (value) => BigInt(value))));
}

/** A tensor of zeros. */
export function zeros<T extends ElementType>(type: T, dims: readonly number[]): Tensor<T> {
  return tensor(type, dims, new ARRAY_CONSTRUCTORS[type](elementCount(dims)) as TensorData[T]);
}

/** The tensor as a float32 tensor; throws when its element type differs (no conversion). */
export function asFloat32(value: Tensor): Float32Tensor {
  if (value.type !== 'float32') throw new TypeError(`expected a float32 tensor, got ${value.type}`);
  return value as Float32Tensor;
}

/** Bytes per element. */
export function elementSizeBytes(type: ElementType): number {
  return ARRAY_CONSTRUCTORS[type].BYTES_PER_ELEMENT;
}

/** A view of little-endian bytes as tensor data; copies when the offset is not aligned. */
export function dataFromBytes<T extends ElementType>(type: T, bytes: Uint8Array): TensorData[T] {
  const Constructor = ARRAY_CONSTRUCTORS[type];
  const size = Constructor.BYTES_PER_ELEMENT;
  if (bytes.byteLength % size !== 0) throw new RangeError(`${bytes.byteLength} bytes are no whole number of ${type}`);
  // Not slice(): that of a Node Buffer is a view.
  const aligned = bytes.byteOffset % size === 0 ? bytes : new Uint8Array(bytes);
  return new Constructor(aligned.buffer as ArrayBuffer, aligned.byteOffset, aligned.byteLength / size) as TensorData[T];
}

/** The tensor's bytes (a view, little-endian). */
export function bytesFromTensor(value: Tensor): Uint8Array {
  return new Uint8Array(value.data.buffer, value.data.byteOffset, value.data.byteLength);
}

/** Rows [start, end) along axis 0, as a view. */
export function sliceRows<T extends ElementType>(value: Tensor<T>, start: number, end: number): Tensor<T> {
  const rowSize = elementCount(value.dims.slice(1));
  const data = value.data.subarray(start * rowSize, end * rowSize) as TensorData[T];
  return tensor(value.type, [end - start, ...value.dims.slice(1)], data);
}

/** Concatenation along axis 0; all inputs share type and trailing dims. */
export function concatRows<T extends ElementType>(parts: readonly Tensor<T>[]): Tensor<T> {
  const [first] = parts;
  if (first === undefined) throw new RangeError('concatRows needs at least one tensor');
  const rows = parts.reduce((sum, part) => sum + (part.dims[0] ?? 0), 0);
  const result = zeros(first.type, [rows, ...first.dims.slice(1)]);
  let offset = 0;
  for (const part of parts) {
    (result.data as Float32Array).set(part.data as Float32Array, offset);
    offset += part.data.length;
  }
  return result;
}
