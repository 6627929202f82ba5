import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { EngineExecutor } from '../../../activities/engine/engine-executor.js';
import { gaussianTensor } from '../../../models/tensors/random.js';
import { elementCount, float32 } from '../../../models/tensors/tensor.js';
import type { ActivationScheme } from '../../../quantization/layer-plan.js';
import { codeDifference, type QuantizerCase, referenceQuantized, runQuantizer, SCHEME } from './lowered-quantizer.js';

/**
 * The float lowering against the QDQ lowering on equal inputs. Both divide in float32 and round half to even, so codes
 * differ only where a runtime divides by multiplying with the reciprocal: none did in onnxruntime 1.30 (share 0 in all
 * cases below); one code apart on 0.1 % of the codes is what a different build may do.
 */
const CODE_SHARE = 1e-3;
/** Float32 rounding of one code's step. */
const ONE_CODE = 1 + 1e-4;

let executor: EngineExecutor;
beforeAll(async () => {
  executor = await EngineExecutor.start({ device: 'cpu', threads: 1 });
});
afterAll(async () => {
  await executor.close();
});

const TIMESTEPS = [951, 500, 20];
const TIMESTEP = [640];

function caseOf(scheme: ActivationScheme, dims: readonly number[], channelAxis: number): QuantizerCase {
  if (scheme.ranges === 'dynamic') return { dims, channelAxis, scheme };
  const scales = scheme.ranges === 'static' ? [1] : [1, 2.3, 0.4];
  const zero = scheme.symmetric ? 0 : 2 ** (scheme.bits - 2);
  const parameters = {
    scale: float32(
      [scales.length],
      scales.map((scale) => (scale * 6.1) / 2 ** scheme.bits),
    ),
    zeroPoint: float32([scales.length], new Float32Array(scales.length).fill(zero)),
  };
  return { dims, channelAxis, scheme, parameters, timesteps: TIMESTEPS };
}

describe('float lowering', () => {
  for (const bits of [2, 3, 4, 5, 6, 8]) {
    for (const symmetric of [false, true]) {
      for (const ranges of ['static', 'timestep', 'dynamic'] as const) {
        for (const groupSize of ranges === 'dynamic' ? [null, 16] : [null]) {
          const scheme = { ...SCHEME, bits, symmetric, ranges, groupSize };
          const grouped = groupSize === null ? '' : `, groups of ${groupSize}`;
          const kind = `${bits} bit ${symmetric ? 'symmetric' : 'asymmetric'} ${ranges}${grouped}`;

          it(`has the codes of the QDQ lowering: ${kind}`, async () => {
            const layouts = [
              { dims: [4, 32, 6, 5], channelAxis: 1 },
              { dims: [4, 9, 32], channelAxis: 2 },
              { dims: [4, 32, 9], channelAxis: 1 },
            ];
            for (const { dims, channelAxis } of layouts) {
              const one = caseOf(scheme, dims, channelAxis);
              const x = gaussianTensor(bits, channelAxis, dims);
              const { steps } = referenceQuantized(one, x, TIMESTEP);
              const qdq = await runQuantizer(executor, one, x, { timestep: TIMESTEP });
              for (const optimization of ['disabled', 'all'] as const) {
                const options = { lowering: 'float', optimization, timestep: TIMESTEP } as const;
                const float = await runQuantizer(executor, one, x, options);
                const { largest, share } = codeDifference(float.values, qdq.values, steps);
                expect(share).toBeLessThanOrEqual(CODE_SHARE);
                expect(largest).toBeLessThanOrEqual(ONE_CODE);
              }
            }
          });
        }
      }
    }
  }

  it('rounds ties to the even code and keeps zero', async () => {
    for (const symmetric of [false, true]) {
      const scheme = { ...SCHEME, symmetric, ranges: 'static' as const };
      const parameters = { scale: float32([1], [0.25]), zeroPoint: float32([1], [symmetric ? 0 : 8]) };
      const x = float32(
        [1, 41],
        Float32Array.from({ length: 41 }, (_, index) => (index - 20) * 0.125),
      );
      const one: QuantizerCase = { dims: x.dims, channelAxis: 1, scheme, parameters };
      const expected = referenceQuantized(one, x).values;
      // −0 where the codes are whole: a signed zero makes no difference to any layer.
      const found = (await runQuantizer(executor, one, x, { lowering: 'float' })).values.map((value) => value + 0);
      expect(found).toEqual(expected.map((value) => value + 0));
    }
  });

  it('gives zeros for zeros', async () => {
    const dims = [2, 32, 3, 3];
    const x = float32(dims, new Float32Array(elementCount(dims)));
    for (const symmetric of [false, true]) {
      const one = caseOf({ ...SCHEME, symmetric, groupSize: 16 }, dims, 1);
      const { values } = await runQuantizer(executor, one, x, { lowering: 'float' });
      expect(values.every((value) => value === 0)).toBe(true);
    }
  });
});
