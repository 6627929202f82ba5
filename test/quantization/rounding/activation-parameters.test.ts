import { describe, expect, it } from 'vitest';
import { gaussianTensor } from '../../../models/tensors/random.js';
import { type Float32Tensor, float32 } from '../../../models/tensors/tensor.js';
import type { ActivationQuantizer } from '../../../quantization/activation-quantizers.js';
import { ActivationObservers } from '../../../quantization/calibration/activation-observers.js';
import { addObservation, observationsOf } from '../../../quantization/calibration/observations.js';
import { affineParameters, roundHalfToEven } from '../../../quantization/formats/integer-grid.js';
import type { ActivationScheme, SpreadAxes } from '../../../quantization/layer-plan.js';
import {
  type ActivationParameters,
  parametersFromTensors,
  tensorsFromParameters,
} from '../../../quantization/quantized-parameters.js';
import { activationParameters } from '../../../quantization/rounding/activation-parameters.js';

/** [samples, tokens, channels] */
const DIMS = [8, 20, 12];
const TIMESTEPS = [900, 100];
const CHANNEL: SpreadAxes = { kind: 'channel', axes: [2], entries: 12 };
const TOKEN: SpreadAxes = { kind: 'pixel', axes: [1], entries: 20 };
const SCHEME: ActivationScheme = { bits: 4, symmetric: false, ranges: 'timestep', groupSize: null, range: 'minmax' };

/** Values whose size depends on the channel, or on the token. */
function values(timestep: number, by: 'channel' | 'token'): Float32Tensor {
  const draw = gaussianTensor(timestep, 0, DIMS).data;
  const sizeOf = (at: number): number => 0.1 * 4 ** (by === 'channel' ? at % 3 : Math.floor(at / 12) % 3);
  return float32(
    DIMS,
    draw.map((value, at) => value * sizeOf(at) * (timestep / 500)),
  );
}

function quantizerOf(scheme: ActivationScheme): ActivationQuantizer {
  return { id: 'q0', value: 'x', channelAxis: 2, rows: 'batch', scheme, readers: [] };
}

function found(scheme: ActivationScheme, by: 'channel' | 'token' = 'channel'): ActivationParameters {
  const quantizer = quantizerOf(scheme);
  const observers = new ActivationObservers();
  for (const timestep of TIMESTEPS) {
    for (const one of observationsOf(quantizer)) addObservation(observers, one, timestep, values(timestep, by));
  }
  return activationParameters(observers, quantizer, TIMESTEPS);
}

function channelValues(timestep: number, channel: number): number[] {
  return Array.from(values(timestep, 'channel').data).filter((_, at) => at % 12 === channel);
}

/** Mean squared error of an affine 4-bit grid. */
function errorOf(data: readonly number[], { scale, zeroPoint }: { scale: number; zeroPoint: number }): number {
  return data.reduce((sum, value) => {
    const code = Math.min(15, Math.max(0, roundHalfToEven(value / scale) + zeroPoint));
    return sum + (value - (code - zeroPoint) * scale) ** 2;
  }, 0);
}

describe('ranges of channels', () => {
  it('by minimum and maximum are those of each channel alone, at each timestep', () => {
    const { scale, zeroPoint, spread } = found({ ...SCHEME, spread: { candidates: [CHANNEL], groups: null } });
    expect([scale.dims, zeroPoint.dims, spread]).toEqual([[2, 12], [2, 12], { axes: [2], groups: null }]);
    for (const [row, timestep] of TIMESTEPS.entries()) {
      for (let channel = 0; channel < 12; channel += 1) {
        const own = channelValues(timestep, channel);
        const expected = affineParameters(Math.min(...own), Math.max(...own), 4);
        expect([scale.data[row * 12 + channel], zeroPoint.data[row * 12 + channel]]).toEqual([
          expected.scale,
          expected.zeroPoint,
        ]);
      }
    }
  });

  it('static ones reach over all timesteps', () => {
    const scheme: ActivationScheme = { ...SCHEME, ranges: 'static', spread: { candidates: [CHANNEL], groups: null } };
    const { scale } = found(scheme);
    expect(scale.dims).toEqual([1, 12]);
    for (let channel = 0; channel < 12; channel += 1) {
      const own = TIMESTEPS.flatMap((timestep) => channelValues(timestep, channel));
      expect(scale.data[channel]).toBe(affineParameters(Math.min(...own), Math.max(...own), 4).scale);
    }
  });

  it('by error clip to within a tenth of the best error that any clip has', () => {
    const { scale, zeroPoint } = found({ ...SCHEME, range: 'mse', spread: { candidates: [CHANNEL], groups: null } });
    const plain = found({ ...SCHEME, spread: { candidates: [CHANNEL], groups: null } });
    let [searched, unclipped, best] = [0, 0, 0];
    for (let channel = 0; channel < 12; channel += 1) {
      const own = channelValues(900, channel);
      const at = (of: ActivationParameters) => ({
        scale: of.scale.data[channel] ?? 0,
        zeroPoint: of.zeroPoint.data[channel] ?? 0,
      });
      searched += errorOf(own, at({ scale, zeroPoint })) / own.length;
      unclipped += errorOf(own, at(plain)) / own.length;
      const [low, high] = [Math.min(...own), Math.max(...own)];
      const clips = Array.from({ length: 40 }, (_, index) => 1 - 0.02 * index);
      const errors = clips.flatMap((a) => clips.map((b) => errorOf(own, affineParameters(low * a, high * b, 4))));
      best += Math.min(...errors) / own.length;
    }
    expect(searched).toBeLessThan(unclipped);
    expect(searched).toBeLessThanOrEqual(1.1 * best);
  });
});

describe('ranges of groups', () => {
  const scheme: ActivationScheme = { ...SCHEME, spread: { candidates: [CHANNEL, TOKEN], groups: 8 } };

  it('cover what their members do, and differ where the members do', () => {
    const { scale, zeroPoint, spread } = found({ ...SCHEME, spread: { candidates: [CHANNEL], groups: 8 } });
    expect([scale.dims, spread?.groups?.dims]).toEqual([
      [2, 8],
      [2, 12],
    ]);
    for (const [row, timestep] of TIMESTEPS.entries()) {
      const used = new Set<number>();
      for (let channel = 0; channel < 12; channel += 1) {
        const group = spread?.groups?.data[row * 12 + channel] ?? -1;
        used.add(group);
        const [s, z] = [scale.data[row * 8 + group] ?? 0, zeroPoint.data[row * 8 + group] ?? 0];
        const own = channelValues(timestep, channel);
        // Half a step beyond the outermost codes still rounds to them.
        expect(Math.min(...own)).toBeGreaterThanOrEqual((-z - 0.5) * s);
        expect(Math.max(...own)).toBeLessThanOrEqual((15.5 - z) * s);
      }
      expect(used.size).toBeGreaterThan(3);
    }
  });

  it('count channels or tokens, whichever differ more', () => {
    expect(found(scheme, 'channel').spread?.axes).toEqual([2]);
    expect(found(scheme, 'token').spread?.axes).toEqual([1]);
  });

  it('fill rows with fewer groups than asked for', () => {
    const few = found({ ...SCHEME, spread: { candidates: [{ kind: 'channel', axes: [2], entries: 12 }], groups: 16 } });
    expect(few.scale.dims).toEqual([2, 16]);
    expect(few.scale.data.every((scale) => scale > 0)).toBe(true);
    expect(Math.max(...(few.spread?.groups?.data ?? []))).toBeLessThan(12);
  });

  it('survive a file', () => {
    const activations = new Map([
      ['q0', found(scheme)],
      ['q1', found({ ...SCHEME, spread: { candidates: [CHANNEL], groups: null } })],
      ['q2', found(SCHEME)],
    ]);
    const parameters = { timesteps: TIMESTEPS, weights: new Map(), branches: new Map(), activations };
    expect(parametersFromTensors(tensorsFromParameters(parameters)).activations).toEqual(activations);
  });
});

describe('ranges', () => {
  it('leave out a first token that stays float', () => {
    const quantizer = quantizerOf({ ...SCHEME, floatFirst: 1 });
    const observers = new ActivationObservers();
    for (const timestep of TIMESTEPS) {
      const x = values(timestep, 'channel');
      const outlying = float32(
        DIMS,
        x.data.map((value, at) => (Math.floor(at / 12) % 20 === 0 ? 1000 : value)),
      );
      for (const one of observationsOf(quantizer)) addObservation(observers, one, timestep, outlying);
    }
    const rest = Array.from(values(100, 'channel').data).filter((_, at) => Math.floor(at / 12) % 20 !== 0);
    const expected = affineParameters(Math.min(...rest), Math.max(...rest), 4);
    expect(activationParameters(observers, quantizer, TIMESTEPS).scale.data[1]).toBe(expected.scale);
  });

  it('of a timestep that was not observed are an error', () => {
    const quantizer = quantizerOf({ ...SCHEME, spread: { candidates: [CHANNEL], groups: null } });
    expect(() => activationParameters(new ActivationObservers(), quantizer, TIMESTEPS)).toThrow('not observed');
  });
});
