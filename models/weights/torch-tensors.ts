import { quoted } from '../archives/quoted.js';
import {
  dataFromBytes,
  type ElementType,
  elementCount,
  elementSizeBytes,
  type Tensor,
  tensor,
} from '../tensors/tensor.js';
import {
  invalidWeights,
  kindOfValue,
  PickleDict,
  PickleGlobal,
  PickleList,
  PickleObject,
  type PickleTuple,
  type PickleValue,
  type PickleWorld,
} from './pickle-values.js';

/**
 * What torch's pickles mean: tensors are views (offset, dims, strides, in elements) of storages, which lie elsewhere in the
 * file. Functions and layout as in torch/_utils.py and torch/serialization.py of torch 0.4 to 2.x.
 */

/** bfloat16 has no array type: it is widened to float32, which is exact. */
const STORAGES: Readonly<Record<string, ElementType | 'bfloat16'>> = {
  'torch.FloatStorage': 'float32',
  'torch.DoubleStorage': 'float64',
  'torch.HalfStorage': 'float16',
  'torch.BFloat16Storage': 'bfloat16',
  'torch.LongStorage': 'int64',
  'torch.IntStorage': 'int32',
  'torch.ShortStorage': 'int16',
  'torch.CharStorage': 'int8',
  'torch.ByteStorage': 'uint8',
  'torch.BoolStorage': 'bool',
};

const MOST_DIMS = 16;

/** Elements that tensors are views of; their bytes are found by the key. */
export class TorchStorage extends PickleObject {
  readonly kind = 'storage';
  constructor(
    readonly key: string,
    readonly type: ElementType | 'bfloat16',
    readonly length: number,
    /** Where a view of another storage starts (files of torch before 1.0). */
    readonly start: number,
  ) {
    super();
  }

  get elementSize(): number {
    return this.type === 'bfloat16' ? 2 : elementSizeBytes(this.type);
  }
}

/** A view of a storage. */
export class TorchTensor extends PickleObject {
  readonly kind = 'tensor';
  constructor(
    readonly storage: TorchStorage,
    readonly offset: number,
    readonly dims: readonly number[],
    readonly strides: readonly number[],
  ) {
    super();
  }
}

/** What pickles in torch's files may mention. `seen` collects every storage. */
export function torchWorld(seen: Map<string, TorchStorage>): PickleWorld {
  const calls: PickleWorld['calls'] = {
    'collections.OrderedDict': orderedDict,
    'torch._utils._rebuild_tensor_v2': rebuiltTensor,
    'torch._utils._rebuild_tensor': rebuiltTensor,
    'torch._utils._rebuild_parameter': ([data]) => {
      if (data instanceof TorchTensor) return data;
      throw invalidWeights(`has a parameter that is ${kindOfValue(data)}`);
    },
  };
  const globals = new Set([...Object.keys(calls), ...Object.keys(STORAGES)]);
  return { globals, calls, persistent: (id) => storageOf(id, seen) };
}

/** Empty, or from a list of pairs, as Python 2 wrote them. */
function orderedDict([items, ...rest]: PickleTuple): PickleValue {
  const pairs = items instanceof PickleList ? items.items : items === undefined ? [] : undefined;
  if (pairs === undefined || rest.length > 0) throw invalidWeights('builds a dictionary in an unknown way');
  const dict = new PickleDict();
  for (const pair of pairs) {
    const [key, value, ...more] =
      pair instanceof PickleList ? pair.items : Array.isArray(pair) ? (pair as PickleTuple) : [];
    if (key === undefined || value === undefined || more.length > 0) {
      throw invalidWeights('builds a dictionary in an unknown way');
    }
    dict.entries.set(key, value);
  }
  return dict;
}

/** ('storage', type, key, device, elements[, (key, offset, elements) of a view]) */
function storageOf(id: PickleValue, seen: Map<string, TorchStorage>): TorchStorage {
  const [label, type, key, , length, view] = Array.isArray(id) ? (id as PickleTuple) : [];
  const elementType = type instanceof PickleGlobal ? STORAGES[type.name] : undefined;
  if (label !== 'storage' || elementType === undefined || typeof key !== 'string' || !isCount(length)) {
    throw invalidWeights('refers to something that is no storage of numbers');
  }
  const start = Array.isArray(view) ? (view as PickleTuple)[1] : 0;
  if (!isCount(start)) throw invalidWeights('refers to something that is no storage of numbers');
  const known = seen.get(key);
  if (known !== undefined && (known.type !== elementType || known.length !== length)) {
    throw invalidWeights(`contradicts itself about storage ${quoted(key)}`);
  }
  const storage = new TorchStorage(key, elementType, length, start);
  seen.set(key, storage);
  return storage;
}

/** (storage, offset, dims, strides, …): gradients and hooks do not matter. */
function rebuiltTensor([storage, offset, dims, strides]: PickleTuple): TorchTensor {
  if (!(storage instanceof TorchStorage) || !isCount(offset) || !isCounts(dims) || !isCounts(strides)) {
    throw invalidWeights('holds a tensor without a storage, dims and strides');
  }
  if (dims.length !== strides.length || dims.length > MOST_DIMS) {
    throw invalidWeights(`holds a tensor of ${dims.length} dims and ${strides.length} strides`);
  }
  return new TorchTensor(storage, offset, dims, strides);
}

function isCount(value: PickleValue | undefined): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

function isCounts(value: PickleValue | undefined): value is readonly number[] {
  return Array.isArray(value) && value.every(isCount);
}

/**
 * The elements of a view in C order: a view of the file's bytes where it is contiguous and aligned, otherwise a copy.
 * @param name of the tensor, for messages
 * @param bytes of its whole storage
 * @throws NibbleflowError InvalidInput when it reaches outside its storage or repeats elements
 */
export function materializeTensor(name: string, view: TorchTensor, bytes: Uint8Array): Tensor {
  const { storage, dims, strides } = view;
  const count = elementCount(dims);
  const offset = storage.start + view.offset;
  const last =
    count === 0 ? offset - 1 : dims.reduce((sum, dim, axis) => sum + (dim - 1) * (strides[axis] ?? 0), offset);
  const held = bytes.byteLength / storage.elementSize;
  if (!(last < held) || !(count <= held)) {
    throw invalidWeights(
      `says that ${quoted(name)} is [${dims.join(', ')}], which reaches outside its ${held} stored elements`,
    );
  }
  if (storage.type === 'bfloat16') return widened(dims, gathered(view, offset, dataFromBytes('uint16', bytes)));
  const start = offset * storage.elementSize;
  if (isContiguous(dims, strides)) {
    const part = bytes.subarray(start, start + count * storage.elementSize);
    return tensor(storage.type, dims, dataFromBytes(storage.type, part));
  }
  return tensor(storage.type, dims, gathered(view, offset, dataFromBytes(storage.type, bytes)));
}

function isContiguous(dims: readonly number[], strides: readonly number[]): boolean {
  let expected = 1;
  for (let axis = dims.length - 1; axis >= 0; axis -= 1) {
    const dim = dims[axis] as number;
    if (dim !== 1 && strides[axis] !== expected) return elementCount(dims) === 0;
    expected *= dim;
  }
  return true;
}

/** Elements in C order of dims, read at offset + Σ index · stride. */
function gathered<Data extends Tensor['data']>({ dims, strides }: TorchTensor, offset: number, source: Data): Data {
  const count = elementCount(dims);
  const target = source.slice(0, count);
  const index = dims.map(() => 0);
  let from = offset;
  for (let position = 0; position < count; position += 1) {
    target[position] = source[from] as never;
    for (let axis = dims.length - 1; axis >= 0; axis -= 1) {
      const stride = strides[axis] as number;
      index[axis] = (index[axis] as number) + 1;
      from += stride;
      if ((index[axis] as number) < (dims[axis] as number)) break;
      from -= stride * (dims[axis] as number);
      index[axis] = 0;
    }
  }
  return target as Data;
}

/** bfloat16 is the upper half of a float32. */
function widened(dims: readonly number[], halves: Uint16Array): Tensor<'float32'> {
  const bits = Uint32Array.from(halves, (half) => half << 16);
  return tensor('float32', dims, new Float32Array(bits.buffer));
}
