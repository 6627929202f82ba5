import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { EngineExecutor } from '../../../activities/engine/engine-executor.js';
import { gaussianTensor, permutation } from '../../../models/tensors/random.js';
import { type Float32Tensor, float32 } from '../../../models/tensors/tensor.js';
import { type QuantizerCase, referenceQuantized, runQuantizer, SCHEME } from './lowered-quantizer.js';

/** q(x) with a channel order is the inverse order of q without one, of the ordered x; equal in every bit. */

let executor: EngineExecutor;
beforeAll(async () => {
  executor = await EngineExecutor.start({ device: 'cpu', threads: 1 });
});
afterAll(() => executor.close());

/** Place p of `axis` holds what place order[p] held. */
function ordered(x: Float32Tensor, axis: number, order: readonly number[]): Float32Tensor {
  const inner = x.dims.slice(axis + 1).reduce((product, dim) => product * dim, 1);
  const channels = x.dims[axis] ?? 1;
  const data = x.data.map((_, at) => {
    const place = Math.floor(at / inner) % channels;
    return x.data[at + ((order[place] ?? 0) - place) * inner] ?? Number.NaN;
  });
  return float32(x.dims, data);
}

function inverse(order: readonly number[]): number[] {
  return order.map((_, channel) => order.indexOf(channel));
}

const CASES: readonly Pick<QuantizerCase, 'dims' | 'channelAxis'>[] = [
  { dims: [2, 32, 3, 4], channelAxis: 1 },
  { dims: [2, 5, 32], channelAxis: 2 },
];

describe.each(['qdq', 'float'] as const)('a channel order, lowered as %s', (lowering) => {
  for (const symmetric of [false, true]) {
    for (const bits of [4, 8]) {
      it(`groups ${symmetric ? 'signed' : 'unsigned'} channels of ${bits} bits in that order and puts them back`, async () => {
        for (const [index, { dims, channelAxis }] of CASES.entries()) {
          const x = gaussianTensor(11, index, dims);
          const channelOrder = Array.from(permutation(12, index, dims[channelAxis] ?? 0));
          const scheme = { ...SCHEME, bits, symmetric, groupSize: 8 };
          const plain = referenceQuantized({ dims, channelAxis, scheme }, ordered(x, channelAxis, channelOrder));
          const expected = ordered(float32(dims, plain.values), channelAxis, inverse(channelOrder));
          const one = { dims, channelAxis, scheme: { ...scheme, channelOrder } };
          const found = await runQuantizer(executor, one, x, { lowering });
          expect(Buffer.compare(Buffer.from(found.values.buffer), Buffer.from(expected.data.buffer))).toBe(0);
          const without = await runQuantizer(executor, { dims, channelAxis, scheme }, x, { lowering });
          expect(Buffer.compare(Buffer.from(found.values.buffer), Buffer.from(without.values.buffer))).not.toBe(0);
        }
      });
    }
  }
});
