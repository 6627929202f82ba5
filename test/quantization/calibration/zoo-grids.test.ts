import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { EngineExecutor } from '../../../activities/engine/engine-executor.js';
import { type Float32Tensor, float32 } from '../../../models/tensors/tensor.js';
import type { ActivationQuantizer } from '../../../quantization/activation-quantizers.js';
import { LOG_GRIDS, type LogGridName } from '../../../quantization/formats/log-grid.js';
import type { ActivationScheme } from '../../../quantization/layer-plan.js';
import { type PreparedZoo, prepareZoo } from '../quantized-zoo.js';
import { promptSets, zooCalibration } from '../zoo-calibration.js';
import {
  fakeQuantized,
  float32Of,
  type RealActivations,
  realActivations,
  seenRanges,
  sqnrDb,
} from './real-activations.js';

/**
 * What the grids of QuEST and DGQ are for, on activations of the bundled UNet at prompts and noises that no range was found
 * from. Signal to quantization noise, in dB.
 */

const BITS = 4;
/** Of 14.4 dB with one min-max range a value; measured over 8 layers: 4.1 dB by channel, 3.9 dB by 8 groups. */
const SPREAD_GAIN_DB = 2;
/** Measured: 1.9 to 6.7 dB on equal steps, 0.6 to 3.3 dB on logarithmic ones. */
const FIRST_TOKEN_GAIN_DB = { uniform: 1, log2: 0.4, 'log-sqrt2': 0.4 } as const;
/** Four bits, over equal steps of a stored range; measured: 0.9 to 5.3 dB and 6.9 to 11.1 dB. */
const LOG_GAIN_DB = { log2: 0.5, 'log-sqrt2': 5 } as const;
/** Eight bits: powers of two stay where they are (25 dB for √2), equal steps go on (45 dB). */
const UNIFORM_LEAD_AT_8_BITS_DB = 10;

const LAYERS = [
  'mid_block.resnets.0.conv1',
  'down_blocks.1.attentions.0.proj_in',
  'mid_block.attentions.0.transformer_blocks.0.ff.net.0.proj',
  'mid_block.attentions.0.transformer_blocks.0.attn1.qk',
];
const CROSS_ATTENTION = [0, 1].map((index) => `up_blocks.0.attentions.${index}.transformer_blocks.0.attn2`);

let executor: EngineExecutor;
let prepared: PreparedZoo;
let real: RealActivations;

beforeAll(async () => {
  executor = await EngineExecutor.start({ device: 'cpu', threads: 1 });
  const activations = { bits: BITS, ranges: 'timestep', grouping: { method: 'kmeans', fixedSize: true } } as const;
  prepared = prepareZoo({ weights: { range: 'absmax' }, activations, attention: { bits: BITS } });
  const { calibration } = promptSets(8, 2);
  const set = await zooCalibration(executor, calibration, { steps: 4, timesteps: 2 });
  const layers = [...LAYERS, ...CROSS_ATTENTION.flatMap((name) => [`${name}.qk`, `${name}.sv`])];
  const names = layers.flatMap((layer) => quantizersOf(layer)).map(({ value }) => value);
  real = await realActivations(executor, prepared, set, [...new Set(names)]);
});
afterAll(() => executor.close());

function quantizersOf(layer: string): ActivationQuantizer[] {
  return prepared.quantizers.filter(({ readers }) => readers.some((reader) => reader.layer === layer));
}

function withScheme(quantizer: ActivationQuantizer, change: Partial<ActivationScheme>): ActivationQuantizer {
  const { spread: _spread, ...plain } = quantizer.scheme;
  return { ...quantizer, scheme: { ...plain, symmetric: false, ...change } };
}

/** Mean over layers and timesteps, on unseen activations. */
function meanSqnr(scheme: (quantizer: ActivationQuantizer) => Partial<ActivationScheme>): number {
  const found: number[] = [];
  for (const quantizer of LAYERS.flatMap(quantizersOf)) {
    const changed = withScheme(quantizer, scheme(quantizer));
    const ranges = seenRanges(real, changed);
    for (const [row, timestep] of real.set.timesteps.entries()) {
      const x = float32Of(real.unseen.get(timestep), quantizer.value);
      found.push(sqnrDb(x.data, fakeQuantized(x, changed, ranges, row)));
    }
  }
  return found.reduce((sum, one) => sum + one, 0) / found.length;
}

describe('four bits on real activations', () => {
  const groups = (range: 'minmax' | 'mse') => (quantizer: ActivationQuantizer) => ({
    range,
    spread: { candidates: quantizer.scheme.spread?.candidates ?? [], groups: 8 },
  });
  const channels = (quantizer: ActivationQuantizer) => ({
    range: 'minmax' as const,
    spread: { candidates: (quantizer.scheme.spread?.candidates ?? []).slice(0, 1), groups: null },
  });

  it('have less noise with ranges of groups or of channels than with one range from minimum to maximum', () => {
    const whole = meanSqnr(() => ({ range: 'minmax' }));
    expect(meanSqnr(groups('minmax'))).toBeGreaterThan(whole + SPREAD_GAIN_DB);
    expect(meanSqnr(channels)).toBeGreaterThan(whole + SPREAD_GAIN_DB);
  });

  it('have hardly less with ranges of groups than with one range once both are clipped by error', () => {
    const gain = meanSqnr(groups('mse')) - meanSqnr(() => ({ range: 'mse' }));
    expect(gain).toBeGreaterThan(0);
    expect(gain).toBeLessThan(SPREAD_GAIN_DB);
  });
});

/** a·b of [H, M, K] and [H, K, N]. */
function product(a: Float32Tensor, b: Float32Tensor): Float32Array {
  const [heads = 0, m = 0, k = 0] = a.dims;
  const n = b.dims[2] ?? 0;
  return Float32Array.from({ length: heads * m * n }, (_, at) => {
    const [head, row, column] = [Math.floor(at / (m * n)), Math.floor(at / n) % m, at % n];
    let sum = 0;
    for (let inner = 0; inner < k; inner += 1) {
      sum += (a.data[(head * m + row) * k + inner] ?? 0) * (b.data[(head * k + inner) * n + column] ?? 0);
    }
    return sum;
  });
}

interface Attention {
  readonly name: string;
  readonly row: number;
  readonly p: ActivationQuantizer;
  readonly k: ActivationQuantizer;
  readonly values: {
    readonly p: Float32Tensor;
    readonly v: Float32Tensor;
    readonly q: Float32Tensor;
    readonly k: Float32Tensor;
  };
}

function crossAttentions(): Attention[] {
  return CROSS_ATTENTION.flatMap((name) => {
    const [p, v, q, k] = [...quantizersOf(`${name}.sv`), ...quantizersOf(`${name}.qk`)];
    if (p === undefined || v === undefined || q === undefined || k === undefined) throw new Error(`no ${name}`);
    return real.set.timesteps.map((timestep, row) => {
      const of = ({ value }: ActivationQuantizer): Float32Tensor => float32Of(real.unseen.get(timestep), value);
      return { name: `${name} at ${timestep}`, row, p, k, values: { p: of(p), v: of(v), q: of(q), k: of(k) } };
    });
  });
}

/** `changed` with the first token, along the last axis, as it is in `x`. */
function keepingFirst(x: Float32Tensor, changed: Float32Array): Float32Array {
  const tokens = x.dims[2] ?? 1;
  return changed.map((value, at) => (at % tokens === 0 ? (x.data[at] ?? 0) : value));
}

function stored({ row }: Attention, quantizer: ActivationQuantizer, x: Float32Tensor, bits: number, keep: boolean) {
  const scheme = { bits, range: 'minmax' as const, ...(keep ? { floatFirst: 2 } : {}) };
  const changed = withScheme(quantizer, scheme);
  const quantized = fakeQuantized(x, changed, seenRanges(real, changed), row);
  return keep ? keepingFirst(x, quantized) : quantized;
}

/** By the formula, head by head, in doubles. */
function logarithmic(x: Float32Tensor, grid: LogGridName, bits: number, keep: boolean): Float32Array {
  const tokens = x.dims[2] ?? 1;
  const size = (x.dims[1] ?? 1) * tokens;
  const largest = Array.from({ length: x.dims[0] ?? 0 }, (_, head) =>
    x.data
      .subarray(head * size, (head + 1) * size)
      .reduce((most, p, at) => (keep && at % tokens === 0 ? most : Math.max(most, p)), 0),
  );
  const { step } = LOG_GRIDS[grid];
  const quantized = x.data.map((p, at) => {
    const d = largest[Math.floor(at / size)] ?? 0;
    const code = Math.min(2 ** bits - 1, Math.max(0, Math.round(-Math.log2(p / d) / step)));
    return d * 2 ** (-code * step);
  });
  return keep ? keepingFirst(x, quantized) : quantized;
}

/** Of softmax·V with other probabilities. */
function contextSqnr({ values: { p, v } }: Attention, probabilities: Float32Array): number {
  return sqnrDb(product(p, v), product(float32(p.dims, probabilities), v));
}

describe('cross-attention on real prompts', () => {
  const uniform = (one: Attention, bits: number, keep: boolean): number =>
    contextSqnr(one, stored(one, one.p, one.values.p, bits, keep));
  const logs = (one: Attention, grid: LogGridName, bits: number, keep: boolean): number =>
    contextSqnr(one, logarithmic(one.values.p, grid, bits, keep));

  it('errs less in softmax·V, on every grid, when the start token stays float', () => {
    for (const one of crossAttentions()) {
      expect(uniform(one, BITS, true)).toBeGreaterThan(uniform(one, BITS, false) + FIRST_TOKEN_GAIN_DB.uniform);
      for (const grid of ['log2', 'log-sqrt2'] as const) {
        expect(logs(one, grid, BITS, true)).toBeGreaterThan(logs(one, grid, BITS, false) + FIRST_TOKEN_GAIN_DB[grid]);
      }
    }
  });

  it('errs less in q·kᵀ when the key of the start token stays float', () => {
    for (const one of crossAttentions()) {
      const { q, k } = one.values;
      const error = (keep: boolean): number =>
        sqnrDb(product(q, k), product(q, float32(k.dims, stored(one, one.k, k, BITS, keep))));
      expect(error(true)).toBeGreaterThan(error(false));
    }
  });

  it('errs less with powers of two, and far less with powers of √2, than with equal steps of four bits; not of eight', () => {
    for (const one of crossAttentions()) {
      for (const grid of ['log2', 'log-sqrt2'] as const) {
        expect(logs(one, grid, BITS, false)).toBeGreaterThan(uniform(one, BITS, false) + LOG_GAIN_DB[grid]);
        expect(logs(one, grid, 8, false)).toBeLessThan(uniform(one, 8, false) - UNIFORM_LEAD_AT_8_BITS_DB);
      }
    }
  });
});
