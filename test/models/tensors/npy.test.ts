import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { NibbleflowError } from '../../../contracts/errors.js';
import { npyFromTensor, tensorFromNpy } from '../../../models/tensors/npy.js';
import { type ElementType, elementCount, type Tensor, zeros } from '../../../models/tensors/tensor.js';

const FEATURES = new URL('../../../models/zoo/emoji-reference/features.npy', import.meta.url);
const TYPES: ElementType[] = [
  'float32',
  'float64',
  'float16',
  'int64',
  'uint64',
  'int32',
  'uint32',
  'int16',
  'uint16',
  'int8',
  'uint8',
  'bool',
];

/** A tensor whose elements differ. */
function counting(type: ElementType, dims: readonly number[]): Tensor {
  const result = zeros(type, dims);
  for (let index = 0; index < elementCount(dims); index += 1) {
    if (result.data instanceof BigInt64Array || result.data instanceof BigUint64Array)
      result.data[index] = BigInt(index);
    else result.data[index] = type === 'bool' ? index % 2 : index;
  }
  return result;
}

function file(header: string, data: Uint8Array): Uint8Array {
  const text = new TextEncoder().encode(`${header}\n`);
  return Uint8Array.from([
    0x93,
    0x4e,
    0x55,
    0x4d,
    0x50,
    0x59,
    1,
    0,
    text.length % 256,
    Math.floor(text.length / 256),
    ...text,
    ...data,
  ]);
}

describe('npy files', () => {
  it('writes the bytes that numpy wrote', () => {
    const bytes = readFileSync(FEATURES);
    const value = tensorFromNpy(bytes);
    expect(elementCount(value.dims)).toBeGreaterThan(0);
    expect(Buffer.compare(npyFromTensor(value), bytes)).toBe(0);
  });

  it('reads back what it wrote, for every type and rank', () => {
    const dims = fc.array(fc.nat(4), { maxLength: 4 });
    fc.assert(
      fc.property(fc.constantFrom(...TYPES), dims, (type, shape) => {
        const value = counting(type, shape);
        expect(tensorFromNpy(npyFromTensor(value))).toEqual(value);
      }),
      { seed: 1 },
    );
  });

  it('reads Fortran order', () => {
    const bytes = file("{'descr': '|u1', 'fortran_order': True, 'shape': (2, 3), }", Uint8Array.of(0, 3, 1, 4, 2, 5));
    expect(Array.from(tensorFromNpy(bytes).data as Uint8Array)).toEqual([0, 1, 2, 3, 4, 5]);
  });

  it.each([
    ['another file', new Uint8Array(100)],
    ['big-endian numbers', file("{'descr': '>f4', 'fortran_order': False, 'shape': (1,), }", new Uint8Array(4))],
    ['objects', file("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", new Uint8Array(8))],
    ['missing data', file("{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }", new Uint8Array(8))],
    ['a broken header', file('{}', new Uint8Array(8))],
    ['half a header', npyFromTensor(counting('int8', [3])).slice(0, 40)],
  ])('refuses %s', (_, bytes) => {
    expect(() => tensorFromNpy(bytes)).toThrow(NibbleflowError);
  });
});
