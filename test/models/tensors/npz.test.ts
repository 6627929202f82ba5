import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { sourceOfBytes } from '../../../models/archives/byte-source.js';
import { npzFromTensors, openNpz } from '../../../models/tensors/npz.js';
import { bytesFromTensor, float32, type Tensor, tensor } from '../../../models/tensors/tensor.js';
import { goldenPath } from '../../evaluation/golden.js';

const golden = (name: string) => openNpz(sourceOfBytes(readFileSync(goldenPath(`statistics/${name}`))), name);

describe('an .npz', () => {
  test('by numpy gives its arrays, column-major ones in row-major order', async () => {
    const arrays = await golden('fortran-spatial.npz');
    expect(arrays.names).toEqual(['mu', 'sigma', 'mu_s', 'sigma_s', 'arr_0']);
    const read = await arrays.read('arr_0');
    expect({ ...read, data: Array.from(read.data as Float64Array) }).toEqual({
      type: 'float64',
      dims: [2, 3],
      data: [0, 1, 2, 3, 4, 5],
    });
  });

  test('with Python objects is refused by the name of the array, and nothing is executed', async () => {
    const arrays = await golden('object.npz');
    await expect(arrays.read('mu')).rejects.toThrow(/array "mu": .*holds Python objects \(a pickle\).*object\.npz/);
    expect(existsSync('executed-by-npz')).toBe(false);
    expect((await arrays.read('sigma')).dims).toEqual([6, 6]);
  });

  test('that was written is read again, and equal arrays give equal bytes in every time zone', async () => {
    const tensors = new Map<string, Tensor>([
      ['a', float32([2, 2], [1, 2, 3, 4])],
      ['b', tensor('float64', [3], Float64Array.of(0.1, -2, Math.PI))],
    ]);
    const bytes = npzFromTensors(tensors);
    const zone = process.env.TZ;
    process.env.TZ = 'Pacific/Kiritimati';
    const elsewhere = npzFromTensors(tensors);
    process.env.TZ = zone ?? '';
    expect(Buffer.compare(bytes, elsewhere)).toBe(0);
    const arrays = await openNpz(sourceOfBytes(bytes));
    for (const [name, value] of tensors) {
      const read = await arrays.read(name);
      expect(read.dims).toEqual(value.dims);
      expect(Buffer.compare(bytesFromTensor(read), bytesFromTensor(value))).toBe(0);
    }
  });

  test('that was cut or damaged is refused', async () => {
    const bytes = readFileSync(goldenPath('statistics/float64.npz'));
    await expect(openNpz(sourceOfBytes(bytes.subarray(0, bytes.length - 40)), 'cut')).rejects.toThrow(/archive.*cut/);
    const damaged = Uint8Array.from(bytes);
    damaged[300] = (damaged[300] as number) ^ 1;
    const arrays = await openNpz(sourceOfBytes(damaged), 'damaged');
    const reads = await Promise.allSettled(arrays.names.map((name) => arrays.read(name)));
    expect(reads.some((read) => read.status === 'rejected' && /damaged/.test(String(read.reason)))).toBe(true);
  });
});
