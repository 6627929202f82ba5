import { describe, expect, it } from 'vitest';
import { macsAtFourBits, pictureDifference, protocolScores, rowOf } from '../../../bench/quality/protocol-scores.js';
import { gaussianTensor } from '../../../models/tensors/random.js';
import { float32, tensor } from '../../../models/tensors/tensor.js';
import type { ActivationScheme, PlannedLayer } from '../../../quantization/layer-plan.js';

const N = 4;
const DIMS = [N, 2, 2, 3];

function pictures(level: (index: number) => number) {
  return tensor(
    'uint8',
    DIMS,
    Uint8Array.from({ length: N * 12 }, (_, index) => level(index)),
  );
}

function layer(macs: number, weightBits: number, inputBits: number, change: Partial<PlannedLayer> = {}): PlannedLayer {
  const scheme: ActivationScheme = {
    bits: inputBits,
    symmetric: false,
    ranges: 'static',
    groupSize: null,
    range: 'mse',
  };
  return {
    name: 'a',
    node: 'a',
    opType: 'Conv',
    role: 'convolution',
    output: 'y',
    weight: {
      initializer: 'w',
      dims: [1, 1],
      outputAxis: 0,
      inputAxis: 1,
      bias: null,
      scheme: { bits: weightBits, groupSize: null, range: 'mse' },
    },
    inputs: [{ value: 'x', index: 0, channelAxis: 1, rows: 'batch', scheme }],
    skipped: null,
    parameters: 10,
    macs,
    ...change,
  };
}

describe('scores', () => {
  const float = {
    images: pictures(() => 100),
    latents: float32([N, 2], new Float32Array(8).fill(2)),
    features: gaussianTensor(1, 1, [N, 3]),
  };
  const candidate = {
    // One level off everywhere: PSNR 10·log10(255²) = 48.13 dB. The last picture is equal: the cap of 100 dB.
    images: pictures((index) => (index < 36 ? 101 : 100)),
    latents: float32([N, 2], new Float32Array(8).fill(1.8)),
    features: float.features,
  };
  const scores = protocolScores(float, candidate, gaussianTensor(2, 1, [9, 3]), 0.07);

  it('have a PSNR for each picture, capped', () => {
    expect(scores.psnrDb.map((value) => value.toFixed(2))).toEqual(['48.13', '48.13', '48.13', '100.00']);
  });

  it('have one SQNR over all latents', () => {
    // 10·log10(2² / 0.2²) = 20 dB; the tolerance is float32's rounding of 1.8.
    expect(scores.latentSqnrDb).toBeCloseTo(20, 4);
  });

  it('compare features with the float ones and with real ones', () => {
    expect(scores.frechetToFloat).toBe(0);
    expect(scores.frechetToReference).toBeGreaterThan(0);
    expect(scores.denoiserRelativeMse).toBe(0.07);
  });

  it('become a line with the mean and the 10th percentile', () => {
    const row = rowOf('x', { ...scores, psnrDb: [10, 20, 30] }, { macsAtFourBits: 0.9, minutes: 2 });
    expect(row.psnrDb).toBe(20);
    // Type 7: position 0.2 between 10 and 20.
    expect(row.psnrTenthPercentileDb).toBeCloseTo(12, 12);
    expect(row).toMatchObject({ label: 'x', minutes: 2, macsAtFourBits: 0.9, floatBranchMacs: null });
    expect('psnrDb' in row && Array.isArray(row.psnrDb)).toBe(false);
  });
});

describe('multiply-adds at four bits', () => {
  it('are those whose weight and input both have four', () => {
    expect(macsAtFourBits([layer(60, 4, 4), layer(20, 4, 8), layer(10, 8, 4), layer(10, 8, 8)])).toBe(0.6);
  });

  it('do not count skipped layers as covered, and products of two activations not at all', () => {
    const product = layer(1000, 4, 8, { weight: null, parameters: 0 });
    expect(macsAtFourBits([layer(30, 4, 4), layer(70, 4, 4, { skipped: 'asked', inputs: [] }), product])).toBe(0.3);
  });

  it('count 3 bits too, and are 0 without layers', () => {
    expect(macsAtFourBits([layer(5, 3, 3)])).toBe(1);
    expect(macsAtFourBits([])).toBe(0);
  });
});

describe('the difference of pictures', () => {
  it('counts the values that differ and finds the largest', () => {
    const other = pictures((index) => (index === 3 ? 98 : index === 7 ? 101 : 100));
    expect(
      pictureDifference(
        pictures(() => 100),
        other,
      ),
    ).toEqual({ largest: 2, differing: 2, values: 48 });
  });
});
