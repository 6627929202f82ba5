import { describe, expect, it } from 'vitest';
import { NibbleflowError } from '../../../contracts/errors.js';
import { readSafetensors, writeSafetensors } from '../../../models/tensors/safetensors.js';
import { float32, int64, type Tensor, tensor } from '../../../models/tensors/tensor.js';

const TENSORS = new Map<string, Tensor>([
  ['b.weight', float32([2, 2], [1, 2, 3, 4])],
  ['flags', tensor('bool', [3], Uint8Array.of(1, 0, 1))],
  ['a.steps', int64([2], [7, 8])],
  ['scalar', float32([], [0.5])],
  ['empty', float32([0, 4], [])],
]);

/** A file with this header text and data. */
function file(header: string, data: Uint8Array): Uint8Array {
  const text = new TextEncoder().encode(header);
  const result = new Uint8Array(8 + text.length + data.length);
  new DataView(result.buffer).setBigUint64(0, BigInt(text.length), true);
  result.set(text, 8);
  result.set(data, 8 + text.length);
  return result;
}

describe('safetensors files', () => {
  it('reads back tensors and metadata', () => {
    const { tensors, metadata } = readSafetensors(writeSafetensors(TENSORS, { step: '3', loss: '0.1' }));
    expect(new Map([...tensors].sort())).toEqual(new Map([...TENSORS].sort()));
    expect(metadata).toEqual({ step: '3', loss: '0.1' });
  });

  it('writes equal bytes whatever the order of insertion', () => {
    const once = writeSafetensors(TENSORS, { a: '1', b: '2' });
    const reversed = writeSafetensors(new Map([...TENSORS].reverse()), { b: '2', a: '1' });
    expect(Buffer.compare(once, reversed)).toBe(0);
  });

  it('lays the file out as the format says: header length, JSON padded to 8, data without gaps', () => {
    const bytes = writeSafetensors(new Map([['x', float32([1], [1])]]));
    const length = Number(new DataView(bytes.buffer).getBigUint64(0, true));
    expect(JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length)))).toEqual({
      x: { dtype: 'F32', shape: [1], data_offsets: [0, 4] },
    });
    expect([length % 8, bytes.byteLength]).toEqual([0, 8 + length + 4]);
    expect(Array.from(bytes.subarray(8 + length))).toEqual([0, 0, 128, 63]);
  });

  it.each([
    ['an empty file', new Uint8Array(0)],
    ['a header that is longer than the file', file('{}', new Uint8Array(0)).subarray(0, 9)],
    ['a header that is not JSON', file('{"x"', new Uint8Array(0))],
    ['a list as header', file('[]', new Uint8Array(0))],
    ['an unknown type', file('{"x":{"dtype":"F3","shape":[1],"data_offsets":[0,4]}}', new Uint8Array(4))],
    ['a range behind the end', file('{"x":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}', new Uint8Array(4))],
    [
      'a range that does not fit the shape',
      file('{"x":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}', new Uint8Array(4)),
    ],
    ['a negative shape', file('{"x":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}', new Uint8Array(4))],
    ['an entry that is null', file('{"x":null}', new Uint8Array(4))],
  ])('refuses %s', (_, bytes) => {
    expect(() => readSafetensors(bytes)).toThrow(NibbleflowError);
  });
});
