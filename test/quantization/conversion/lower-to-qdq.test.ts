import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { EngineExecutor } from '../../../activities/engine/engine-executor.js';
import { gaussianTensor } from '../../../models/tensors/random.js';
import { elementCount, type Float32Tensor, float32 } from '../../../models/tensors/tensor.js';
import { codeRange } from '../../../quantization/formats/integer-grid.js';
import type { ActivationParameters } from '../../../quantization/quantized-parameters.js';
import { type QuantizerCase, referenceQuantized, runQuantizer, SCHEME } from './lowered-quantizer.js';

const BITS = [2, 3, 4, 5, 6, 8];

let executor: EngineExecutor;
beforeAll(async () => {
  executor = await EngineExecutor.start({ device: 'cpu', threads: 1 });
});
afterAll(async () => {
  await executor.close();
});

/** Lowered with and without optimizations, codes and values are the reference's, bit for bit. */
async function expectReference(
  one: QuantizerCase,
  x: Float32Tensor,
  timestep: readonly number[] = [0],
): Promise<{ codes: Int32Array; values: Float32Array }> {
  const { codes, values } = referenceQuantized(one, x, timestep);
  const expected = { codes, values };
  for (const optimization of ['disabled', 'all'] as const) {
    const found = await runQuantizer(executor, one, x, { optimization, timestep });
    expect({ optimization, ...found }).toEqual({ optimization, ...expected });
  }
  return expected;
}

/** Random values of a lopsided range, as activations have. */
function activations(seed: number, dims: readonly number[]): Float32Tensor {
  const values = gaussianTensor(seed, 0, dims);
  return float32(
    dims,
    values.data.map((value) => 1.7 * value + 0.4),
  );
}

function table(bits: number, symmetric: boolean, scales: readonly number[]): ActivationParameters {
  const { max } = codeRange({ bits, signed: false });
  const zero = (index: number): number => (symmetric ? 0 : Math.min(max, (index * 5 + 2) % (max + 1)));
  return {
    scale: float32([scales.length], scales),
    zeroPoint: float32(
      [scales.length],
      scales.map((_, index) => zero(index)),
    ),
  };
}

for (const bits of BITS) {
  for (const symmetric of [false, true]) {
    const kind = `${bits} bit ${symmetric ? 'symmetric' : 'asymmetric'}`;
    const step = 3 / 2 ** bits;

    describe(`QDQ lowering, ${kind}`, () => {
      const scheme = { ...SCHEME, bits, symmetric };

      it('quantizes to a static range', async () => {
        const x = activations(bits, [2, 3, 4, 5]);
        const parameters = table(bits, symmetric, [step]);
        const one: QuantizerCase = {
          dims: x.dims,
          channelAxis: 1,
          scheme: { ...scheme, ranges: 'static' },
          parameters,
        };
        const { codes } = await expectReference(one, x);
        const { min, max } = codeRange({ bits, signed: symmetric });
        expect([Math.min(...codes), Math.max(...codes)]).toEqual([min, max]);
      });

      it('quantizes every row to the range of its timestep', async () => {
        const x = activations(10 + bits, [4, 3, 7]);
        const timesteps = [951, 500, 20];
        const parameters = table(bits, symmetric, [step, 2.3 * step, 0.4 * step]);
        const one: QuantizerCase = {
          dims: x.dims,
          channelAxis: 2,
          scheme: { ...scheme, ranges: 'timestep' },
          timesteps,
          parameters,
        };
        await expectReference(one, x, [490]);
        await expectReference(one, x, [999, 20, 700, 0]);
        // Heads: two rows of the value per sample.
        await expectReference({ ...one, rows: 'other' }, x, [951, 30]);
      });

      it('finds one range per pixel, per token and per group', async () => {
        const cases: readonly Pick<QuantizerCase, 'dims' | 'channelAxis' | 'scheme'>[] = [
          { dims: [2, 24, 3, 4], channelAxis: 1, scheme },
          { dims: [2, 24, 3, 4], channelAxis: 1, scheme: { ...scheme, groupSize: 8 } },
          { dims: [2, 5, 24], channelAxis: 2, scheme },
          { dims: [2, 5, 24], channelAxis: 2, scheme: { ...scheme, groupSize: 8 } },
          { dims: [2, 3, 24, 5], channelAxis: 2, scheme },
          { dims: [2, 24, 5], channelAxis: 1, scheme: { ...scheme, groupSize: 12 } },
          { dims: [3, 24], channelAxis: 1, scheme: { ...scheme, groupSize: 12 } },
          { dims: [24, 3], channelAxis: 0, scheme: { ...scheme, groupSize: 12 } },
        ];
        for (const [index, one] of cases.entries()) await expectReference(one, activations(20 + index, one.dims));
      });

      it('finds one range for an axis that is longer than the planned one', async () => {
        const planned = { dims: [2, 3, 16, 5], channelAxis: 2, scheme };
        const x = activations(30, [2, 3, 40, 5]);
        const { codes, values } = referenceQuantized({ ...planned, dims: x.dims }, x);
        expect(await runQuantizer(executor, planned, x)).toEqual({ codes, values });
      });

      it('gives zeros for zeros', async () => {
        const dims = [2, 16, 3, 2];
        const x = float32(dims, new Float32Array(elementCount(dims)));
        const one: QuantizerCase = { dims, channelAxis: 1, scheme: { ...scheme, groupSize: 8 } };
        expect((await expectReference(one, x)).values.every((value) => value === 0)).toBe(true);
        const parameters = table(bits, symmetric, [step]);
        const fixed = { ...one, scheme: { ...scheme, ranges: 'static' as const }, parameters };
        expect((await expectReference(fixed, x)).values.every((value) => value === 0)).toBe(true);
      });

      it('rounds ties to the even code and saturates', async () => {
        const scale = 0.25;
        const x = float32(
          [1, 80],
          Float32Array.from({ length: 80 }, (_, index) => (index - 40 + 0.5) * scale),
        );
        const parameters = table(bits, symmetric, [scale]);
        const one: QuantizerCase = {
          dims: x.dims,
          channelAxis: 1,
          scheme: { ...scheme, ranges: 'static' },
          parameters,
        };
        await expectReference(one, x);
      });

      if (symmetric)
        it('gives the largest value of a dynamic range the last code, with either sign', async () => {
          const largest = gaussianTensor(40, 0, [200]).data.map((value) => Math.abs(value) + 0.1);
          const x = float32(
            [400, 2],
            Array.from(largest).flatMap((value) => [value, value / 3, -value, value / 3]),
          );
          const { codes } = await expectReference({ dims: x.dims, channelAxis: 1, scheme }, x);
          const last = 2 ** (bits - 1) - 1;
          expect(new Set(codes.filter((_, index) => index % 4 === 0))).toEqual(new Set([last]));
          expect(new Set(codes.filter((_, index) => index % 4 === 2))).toEqual(new Set([-last]));
        });
      else
        it('rounds ties of a dynamic range to the even code', async () => {
          // The range makes the step a power of two.
          const end = (2 ** bits - 1) * 0.25;
          const inside = Array.from({ length: 15 }, (_, index) => Math.min(end, (index + 0.5) * 0.25));
          const x = float32([1, 16], [end, ...inside]);
          const one: QuantizerCase = { dims: x.dims, channelAxis: 1, scheme };
          await expectReference(one, x);
        });
    });
  }
}
