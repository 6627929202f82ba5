import { NibbleflowError } from '../../contracts/errors.js';
import {
  bytesFromTensor,
  dataFromBytes,
  type ElementType,
  elementCount,
  elementSizeBytes,
  type Tensor,
  tensor,
} from './tensor.js';

/**
 * NumPy's .npy format, version 1.0 to 3.0: magic, version, header length, a Python dict literal, the data.
 * https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
 */

const ELEMENT_TYPES: Readonly<Record<string, ElementType>> = {
  '<f4': 'float32',
  '<f8': 'float64',
  '<f2': 'float16',
  '<i8': 'int64',
  '<u8': 'uint64',
  '<i4': 'int32',
  '<u4': 'uint32',
  '<i2': 'int16',
  '<u2': 'uint16',
  '|i1': 'int8',
  '|u1': 'uint8',
  '|b1': 'bool',
};

const MAGIC = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59];

/** numpy pads the header so that the data starts at a multiple of 64 bytes. */
const DATA_ALIGNMENT = 64;

/**
 * Reads one array. Fortran order is converted to C order; the data of C-order arrays is a view where it is aligned.
 * @throws NibbleflowError InvalidInput for other files, big-endian or structured types, and truncated data.
 */
export function tensorFromNpy(bytes: Uint8Array): Tensor {
  if (bytes.byteLength < 12 || MAGIC.some((byte, index) => bytes[index] !== byte))
    throw invalidNpy('is not an .npy file');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const wide = view.getUint8(6) > 1;
  const headerStart = wide ? 12 : 10;
  const dataStart = headerStart + (wide ? view.getUint32(8, true) : view.getUint16(8, true));
  if (dataStart > bytes.byteLength) throw invalidNpy('ends within its header');
  const header = new TextDecoder('latin1').decode(bytes.subarray(headerStart, dataStart));
  const { type, dims, fortran } = parseHeader(header);
  const size = elementCount(dims) * elementSizeBytes(type);
  if (bytes.byteLength < dataStart + size) throw invalidNpy(`is truncated: ${size} bytes of data expected`);
  const data = dataFromBytes(type, bytes.subarray(dataStart, dataStart + size));
  const stored = tensor(type, dims, data);
  return fortran && dims.length > 1 ? rowMajorFromColumnMajor(stored) : stored;
}

/** Writes one array in version 1.0, C order, as numpy does. */
export function npyFromTensor(value: Tensor): Uint8Array {
  const descr = Object.entries(ELEMENT_TYPES).find(([, type]) => type === value.type)?.[0] ?? '';
  const shape = value.dims.length === 1 ? `${value.dims[0]},` : value.dims.join(', ');
  const dict = `{'descr': '${descr}', 'fortran_order': False, 'shape': (${shape}), }`;
  const padding = (DATA_ALIGNMENT - ((10 + dict.length + 1) % DATA_ALIGNMENT)) % DATA_ALIGNMENT;
  const header = new TextEncoder().encode(`${dict}${' '.repeat(padding)}\n`);
  const data = bytesFromTensor(value);
  const result = new Uint8Array(10 + header.byteLength + data.byteLength);
  result.set(MAGIC);
  const view = new DataView(result.buffer);
  view.setUint8(6, 1);
  view.setUint16(8, header.byteLength, true);
  result.set(header, 10);
  result.set(data, 10 + header.byteLength);
  return result;
}

function parseHeader(header: string): { type: ElementType; dims: number[]; fortran: boolean } {
  const descr = /'descr':\s*'([^']*)'/.exec(header)?.[1];
  const order = /'fortran_order':\s*(True|False)/.exec(header)?.[1];
  const shape = /'shape':\s*\(([\d,\s]*)\)/.exec(header)?.[1];
  if (descr === undefined || order === undefined || shape === undefined) throw invalidNpy('has no readable header');
  const type = ELEMENT_TYPES[descr.replace(/^[=<>|](?=[iub]1$)/, '|')];
  if (descr.endsWith('O')) {
    throw invalidNpy('holds Python objects (a pickle), which nibbleflow does not load: it would have to execute them');
  }
  if (type === undefined)
    throw invalidNpy(`has elements of type ${descr}; little-endian numbers and booleans are read`);
  const dims = shape
    .split(',')
    .filter((part) => part.trim() !== '')
    .map(Number);
  return { type, dims, fortran: order === 'True' };
}

function rowMajorFromColumnMajor(stored: Tensor): Tensor {
  const { type, dims } = stored;
  const source = stored.data as Float32Array;
  const target = source.slice();
  const index = dims.map(() => 0);
  for (let position = 0; position < source.length; position += 1) {
    let from = 0;
    for (let axis = dims.length - 1; axis >= 0; axis -= 1) from = from * (dims[axis] ?? 1) + (index[axis] ?? 0);
    target[position] = source[from] as number;
    for (let axis = dims.length - 1; axis >= 0; axis -= 1) {
      index[axis] = (index[axis] ?? 0) + 1;
      if ((index[axis] ?? 0) < (dims[axis] ?? 0)) break;
      index[axis] = 0;
    }
  }
  return tensor(type, dims, target as Tensor['data']);
}

function invalidNpy(what: string): NibbleflowError {
  return new NibbleflowError('InvalidInput', `The array file ${what}`, { fix: 'Write it again with numpy.save.' });
}
