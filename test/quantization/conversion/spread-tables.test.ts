import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { EngineExecutor } from '../../../activities/engine/engine-executor.js';
import { gaussianTensor, uniforms } from '../../../models/tensors/random.js';
import { elementCount, type Float32Tensor, float32, tensor } from '../../../models/tensors/tensor.js';
import { nearestTimestep } from '../../../quantization/calibration/timestep-plan.js';
import { codeRange, roundHalfToEven } from '../../../quantization/formats/integer-grid.js';
import type { ActivationScheme } from '../../../quantization/layer-plan.js';
import type { ActivationParameters } from '../../../quantization/quantized-parameters.js';
import { maxAbsDifference } from '../../models/autodiff/train-graph.js';
import { type QuantizerCase, quantizerModel, runQuantizer, SCHEME } from './lowered-quantizer.js';
import { runStock } from './stock-onnxruntime.js';

/**
 * Tables with an entry per channel, pixel or token, in both lowerings, against a loop over elements. The QDQ lowering is
 * exact; the float lowering divides and rounds alike, so it is exact as well (values of 0 may be −0).
 */

let executor: EngineExecutor;
beforeAll(async () => {
  executor = await EngineExecutor.start({ device: 'cpu', threads: 1 });
});
afterAll(async () => {
  await executor.close();
});

const TIMESTEPS = [951, 500, 20];

interface Layout {
  readonly name: string;
  readonly dims: readonly number[];
  readonly axes: readonly number[];
}

const LAYOUTS: readonly Layout[] = [
  { name: 'channels of a convolution', dims: [4, 6, 3, 5], axes: [1] },
  { name: 'pixels of a convolution', dims: [4, 6, 3, 5], axes: [2, 3] },
  { name: 'channels of tokens', dims: [4, 5, 6], axes: [2] },
  { name: 'tokens', dims: [4, 5, 6], axes: [1] },
  { name: 'channels of vectors', dims: [4, 6], axes: [1] },
  { name: 'channels of keys, heads as an axis', dims: [4, 2, 6, 5], axes: [2] },
  { name: 'tokens of keys, heads as an axis', dims: [4, 2, 6, 5], axes: [3] },
];

function entriesOf({ dims, axes }: Layout): number {
  return elementCount(axes.map((axis) => dims[axis] ?? 1));
}

/** Scales and zero points that differ from entry to entry and row to row. */
function table(layout: Layout, scheme: ActivationScheme, groups: number | null): ActivationParameters {
  const rows = scheme.ranges === 'static' ? 1 : TIMESTEPS.length;
  const entries = entriesOf(layout);
  const columns = groups ?? entries;
  const { max } = codeRange({ bits: scheme.bits, signed: false });
  const draw = uniforms(11, scheme.bits, rows * columns);
  const choice = uniforms(12, entries, rows * entries);
  return {
    scale: float32(
      [rows, columns],
      Float32Array.from(draw, (unit) => ((0.5 + 2 * unit) * 3) / 2 ** scheme.bits),
    ),
    zeroPoint: float32(
      [rows, columns],
      Float32Array.from(draw, (unit) => (scheme.symmetric ? 0 : Math.floor(((unit * 7919) % 1) * (max + 1)))),
    ),
    spread: {
      axes: layout.axes,
      groups:
        groups === null
          ? null
          : tensor(
              'uint8',
              [rows, entries],
              Uint8Array.from(choice, (unit) => Math.floor(unit * groups)),
            ),
    },
  };
}

/** Element by element, from the definition. */
function reference(
  { axes }: Layout,
  { bits, symmetric }: ActivationScheme,
  { scale, zeroPoint, spread }: ActivationParameters,
  x: Float32Tensor,
  timestep: readonly number[],
): { codes: Int32Array; values: Float32Array } {
  const grid = codeRange({ bits, signed: symmetric });
  const [rows = 1] = x.dims;
  const [tableRows = 1, columns = 1] = scale.dims;
  const entries = elementCount(axes.map((axis) => x.dims[axis] ?? 1));
  const codes = new Int32Array(x.data.length);
  const values = new Float32Array(x.data.length);
  for (let at = 0; at < x.data.length; at += 1) {
    let rest = at;
    const place = x.dims.map(() => 0);
    for (let axis = x.dims.length - 1; axis >= 0; axis -= 1) {
      place[axis] = rest % (x.dims[axis] ?? 1);
      rest = Math.floor(rest / (x.dims[axis] ?? 1));
    }
    const own = timestep[Math.floor(((place[0] ?? 0) * timestep.length) / rows)] ?? 0;
    const row = tableRows === 1 ? 0 : nearestTimestep(TIMESTEPS, own);
    const entry = axes.reduce((index, axis) => index * (x.dims[axis] ?? 1) + (place[axis] ?? 0), 0);
    const column = spread?.groups?.data[row * entries + entry] ?? entry;
    const s = scale.data[row * columns + column] ?? 0;
    const z = zeroPoint.data[row * columns + column] ?? 0;
    const code = Math.max(grid.min, Math.min(grid.max, roundHalfToEven(Math.fround((x.data[at] ?? 0) / s)) + z));
    codes[at] = code;
    values[at] = (code - z) * s;
  }
  return { codes, values };
}

function activations(seed: number, dims: readonly number[]): Float32Tensor {
  return float32(
    dims,
    gaussianTensor(seed, 0, dims).data.map((value) => 1.7 * value + 0.4),
  );
}

async function expectReference(
  layout: Layout,
  one: QuantizerCase,
  parameters: ActivationParameters,
  x: Float32Tensor,
  timestep: readonly number[],
): Promise<void> {
  const expected = reference(layout, one.scheme, parameters, x, timestep);
  for (const optimization of ['disabled', 'all'] as const) {
    const found = await runQuantizer(executor, one, x, { optimization, timestep });
    const differing = found.codes.reduce((count, code, at) => count + (code === expected.codes[at] ? 0 : 1), 0);
    expect({ optimization, differing }).toEqual({ optimization, differing: 0 });
    expect(maxAbsDifference(found.values, expected.values)).toBe(0);
  }
  const float = await runQuantizer(executor, one, x, { lowering: 'float', timestep });
  expect(maxAbsDifference(float.values, expected.values)).toBe(0);
}

for (const layout of LAYOUTS) {
  for (const ranges of ['static', 'timestep'] as const) {
    describe(`${layout.name}, ${ranges}`, () => {
      for (const bits of [2, 3, 4, 6, 8]) {
        it(`quantizes every entry on its own grid of ${bits} bits`, async () => {
          for (const symmetric of [false, true]) {
            for (const groups of [null, 3]) {
              const scheme = { ...SCHEME, bits, symmetric, ranges };
              const parameters = table(layout, scheme, groups);
              const one: QuantizerCase = {
                dims: layout.dims,
                channelAxis: 1,
                scheme,
                timesteps: TIMESTEPS,
                parameters,
              };
              const x = activations(bits, layout.dims);
              await expectReference(layout, one, parameters, x, [490]);
              if (ranges === 'static' || symmetric) continue;
              await expectReference(layout, one, parameters, x, [999, 20, 700, 0]);
              await expectReference(layout, { ...one, rows: 'other' }, parameters, x, [951, 30]);
            }
          }
        });
      }
    });
  }
}

describe('a table with an entry per channel', () => {
  const layout: Layout = { name: '', dims: [2, 6, 3, 5], axes: [1] };
  const scheme = { ...SCHEME, ranges: 'timestep' as const };
  const parameters = table(layout, scheme, null);
  const one: QuantizerCase = { dims: layout.dims, channelAxis: 1, scheme, timesteps: TIMESTEPS, parameters };

  it('serves batches and pictures of other sizes than the planned ones', async () => {
    const x = activations(5, [3, 6, 70, 80]);
    await expectReference(layout, one, parameters, x, [951, 500, 20]);
  });

  it('is computed alike by a stock onnxruntime with default options', async () => {
    for (const bits of [4, 8]) {
      const held = { ...one, scheme: { ...scheme, bits }, parameters: table(layout, { ...scheme, bits }, null) };
      const x = activations(6, layout.dims);
      const feeds = { x, t: float32([1], [490]) };
      const found = await runStock(quantizerModel(held, 'qdq'), feeds, 'default');
      const expected = reference(layout, held.scheme, held.parameters, x, [490]);
      expect(maxAbsDifference(found['out.values']?.data as Float32Array, expected.values)).toBe(0);
    }
  });
});
