import { describe, expect, it } from 'vitest';
import { Expressions, type Value } from '../../../models/autodiff/expressions.js';
import { type ConvolutionGeometry, reachOf } from '../../../models/autodiff/rules/convolution-geometry.js';
import { chooseInputForm, INPUT_FORMS } from '../../../models/autodiff/rules/convolution-inputs.js';
import { chooseWeightForm, WEIGHT_FORMS } from '../../../models/autodiff/rules/convolution-weights.js';
import { inferShapes } from '../../../models/onnx/shape-inference.js';
import { gaussianTensor } from '../../../models/tensors/random.js';
import { elementCount, type Tensor } from '../../../models/tensors/tensor.js';
import { graphOf, maxAbs, maxAbsDifference, runGraph } from './train-graph.js';

/** Sums of up to 500 products of order 1 in float32, in another order than the double-precision reference: n·2⁻²⁴ at most. */
const RELATIVE_TOLERANCE = 3e-5;

interface FormCase {
  readonly title: string;
  /** [N, C, …] and [M, C/groups, …kernel]. */
  readonly x: readonly number[];
  readonly w: readonly number[];
  readonly strides?: readonly number[];
  readonly dilations?: readonly number[];
  readonly pads?: readonly number[];
  readonly groups?: number;
}

const CASES: readonly FormCase[] = [
  { title: '3×3', x: [2, 3, 5, 4], w: [4, 3, 3, 3], pads: [1, 1, 1, 1] },
  { title: '3×3 to fewer channels', x: [2, 5, 5, 4], w: [2, 5, 3, 3], pads: [1, 1, 1, 1] },
  { title: '1×1', x: [2, 3, 4, 3], w: [5, 3, 1, 1] },
  { title: '1×1 to fewer channels', x: [2, 5, 4, 3], w: [3, 5, 1, 1] },
  { title: 'uneven pads', x: [1, 4, 5, 6], w: [2, 4, 3, 2], pads: [0, 1, 2, 0] },
  { title: 'pads beyond the kernel', x: [1, 2, 4, 3], w: [2, 2, 2, 2], pads: [3, 2, 1, 4] },
  { title: 'dilations', x: [1, 3, 7, 8], w: [2, 3, 3, 2], pads: [2, 1, 2, 1], dilations: [2, 3] },
  { title: 'strides', x: [2, 3, 6, 5], w: [4, 3, 3, 3], pads: [1, 1, 1, 1], strides: [2, 2] },
  { title: 'strides that leave a rest', x: [1, 2, 8, 9], w: [3, 2, 2, 3], strides: [3, 2] },
  {
    title: 'strides and dilations',
    x: [2, 3, 9, 8],
    w: [2, 3, 3, 2],
    pads: [1, 2, 0, 1],
    strides: [2, 3],
    dilations: [2, 2],
  },
  { title: 'groups', x: [2, 4, 5, 4], w: [6, 2, 3, 3], pads: [1, 1, 1, 1], groups: 2 },
  { title: 'one channel per group', x: [2, 4, 5, 4], w: [4, 1, 3, 3], pads: [1, 0, 1, 2], strides: [2, 1], groups: 4 },
  { title: 'one axis', x: [2, 3, 9], w: [4, 3, 3], pads: [1, 2], strides: [2] },
  { title: 'one axis to fewer channels', x: [2, 3, 9], w: [2, 3, 4], pads: [1, 2], dilations: [2] },
  { title: 'three axes', x: [1, 2, 4, 3, 5], w: [3, 2, 2, 3, 2], pads: [1, 1, 0, 0, 1, 1] },
  {
    title: 'three axes with strides',
    x: [2, 3, 5, 4, 4],
    w: [2, 3, 3, 2, 2],
    pads: [1, 0, 1, 1, 1, 0],
    strides: [2, 1, 2],
  },
];

function geometryOf({ w, strides, dilations, pads, groups }: FormCase): ConvolutionGeometry {
  const kernel = w.slice(2);
  const ones = kernel.map(() => 1);
  return {
    kernel,
    strides: strides ?? ones,
    dilations: dilations ?? ones,
    pads: pads ?? [...ones, ...ones].map(() => 0),
    groups: groups ?? 1,
  };
}

function outputDims({ x, w }: FormCase, geometry: ConvolutionGeometry): number[] {
  const axes = geometry.kernel.length;
  const reach = reachOf(geometry);
  const spatial = geometry.kernel.map((_, axis) => {
    const padded = (x[axis + 2] ?? 1) + (geometry.pads[axis] ?? 0) + (geometry.pads[axis + axes] ?? 0);
    return Math.floor((padded - (reach[axis] ?? 0) - 1) / (geometry.strides[axis] ?? 1)) + 1;
  });
  return [x[0] ?? 1, w[0] ?? 1, ...spatial];
}

function tuples(sizes: readonly number[]): number[][] {
  return sizes.reduce<number[][]>(
    (all, size) => all.flatMap((tuple) => Array.from({ length: size }, (_, at) => [...tuple, at])),
    [[]],
  );
}

function offset(dims: readonly number[], index: readonly number[]): number {
  return dims.reduce((at, dim, axis) => at * dim + (index[axis] ?? 0), 0);
}

/** dX and dW by definition, in double precision: every product of the convolution once. */
function byDefinition(of: FormCase, geometry: ConvolutionGeometry, feeds: ReadonlyMap<string, Tensor>) {
  const data = (name: string) => feeds.get(name)?.data as Float32Array;
  const [x, w, g] = [data('x'), data('w'), data('g')];
  const yDims = outputDims(of, geometry);
  const dx = new Float64Array(elementCount(of.x));
  const dw = new Float64Array(elementCount(of.w));
  const perGroup = (of.w[0] ?? 1) / geometry.groups;
  const channels = of.w[1] ?? 1;
  for (const [sample = 0, output = 0, ...position] of tuples(yDims)) {
    const from = g[offset(yDims, [sample, output, ...position])] ?? 0;
    for (const [channel = 0, ...element] of tuples([channels, ...geometry.kernel])) {
      const at = element.map(
        (k, axis) =>
          (position[axis] ?? 0) * (geometry.strides[axis] ?? 1) +
          k * (geometry.dilations[axis] ?? 1) -
          (geometry.pads[axis] ?? 0),
      );
      if (at.some((index, axis) => index < 0 || index >= (of.x[axis + 2] ?? 1))) continue;
      const xAt = offset(of.x, [sample, Math.floor(output / perGroup) * channels + channel, ...at]);
      const wAt = offset(of.w, [output, channel, ...element]);
      dx[xAt] = (dx[xAt] ?? 0) + from * (w[wAt] ?? 0);
      dw[wAt] = (dw[wAt] ?? 0) + from * (x[xAt] ?? 0);
    }
  }
  return { dx, dw };
}

async function computed(of: FormCase, geometry: ConvolutionGeometry, feeds: ReadonlyMap<string, Tensor>) {
  const graph = graphOf({ x: of.x, w: of.w, g: outputDims(of, geometry) });
  const e = new Expressions(graph, inferShapes(graph));
  e.scope = 'op';
  const [x, w, g] = [e.value('x'), e.value('w'), e.value('g')];
  const found = new Map<string, Value>();
  for (const [name, form] of Object.entries(INPUT_FORMS)) {
    if (form.applies(geometry)) found.set(name, form.write(e, g, w, of.x, geometry));
  }
  for (const [name, form] of Object.entries(WEIGHT_FORMS)) {
    if (form.applies(geometry)) found.set(name, form.write(e, x, g, geometry));
  }
  graph.insertNodes(e.nodes);
  graph.outputs = [...found.values()].map(({ name, dims }) => ({ name, type: 'float32', shape: dims }));
  const results = await runGraph(graph, feeds, 'disabled');
  return new Map([...found].map(([name, value]) => [name, results.get(value.name) as Tensor] as const));
}

describe('forms of convolution gradients', () => {
  it.each(CASES.map((of) => [of.title, of] as const))('all equal the definition: %s', async (_, of) => {
    const geometry = geometryOf(of);
    const dims = { x: of.x, w: of.w, g: outputDims(of, geometry) };
    const feeds = new Map(
      Object.entries(dims).map(([name, shape], at) => [name, gaussianTensor(4, at, shape)] as const),
    );
    const expected = byDefinition(of, geometry, feeds);
    const found = await computed(of, geometry, feeds);
    expect([...found.keys()]).toContain(
      chooseWeightForm(
        { name: 'x', type: 'float32', dims: of.x },
        { name: 'g', type: 'float32', dims: dims.g },
        geometry,
      ),
    );
    for (const [name, value] of found) {
      const reference = name in INPUT_FORMS ? expected.dx : expected.dw;
      expect(value.dims, name).toEqual(name in INPUT_FORMS ? of.x : of.w);
      expect(maxAbsDifference(value.data as Float32Array, reference), name).toBeLessThan(
        RELATIVE_TOLERANCE * maxAbs(reference),
      );
    }
  });

  it('covers every form', async () => {
    const seen = new Set<string>();
    for (const of of CASES) {
      const geometry = geometryOf(of);
      for (const [name, form] of [...Object.entries(INPUT_FORMS), ...Object.entries(WEIGHT_FORMS)]) {
        if (form.applies(geometry)) seen.add(name);
      }
    }
    expect([...seen].sort()).toEqual([...Object.keys(INPUT_FORMS), ...Object.keys(WEIGHT_FORMS)].sort());
  });

  it('shifts the side with fewer channels', () => {
    const value = (dims: readonly number[]): Value => ({ name: 'v', type: 'float32', dims });
    const geometry = geometryOf({ title: '', x: [], w: [1, 1, 3, 3], pads: [1, 1, 1, 1] });
    const [wide, narrow] = [value([8, 192, 16, 16]), value([8, 64, 16, 16])];
    expect(chooseWeightForm(wide, narrow, geometry)).toBe('gradient-taps');
    expect(chooseWeightForm(narrow, wide, geometry)).toBe('input-taps');
    expect(chooseWeightForm(wide, narrow, { ...geometry, strides: [2, 2] })).toBe('input-taps');
    expect(chooseWeightForm(wide, narrow, { ...geometry, groups: 2 })).toBe('grouped');
  });

  it('flips the weight where fewer rows are gathered, where the weight is constant, and only where it can', () => {
    const value = (dims: readonly number[]): Value => ({ name: 'v', type: 'float32', dims });
    const geometry = geometryOf({ title: '', x: [], w: [1, 1, 3, 3], pads: [1, 1, 1, 1] });
    const choose = (w: number[], x: number[], constant = false, of = geometry) =>
      chooseInputForm(value(w), x, of, constant);
    expect(choose([64, 192, 3, 3], [8, 192, 16, 16])).toBe('flipped');
    expect(choose([128, 64, 3, 3], [8, 64, 8, 8])).toBe('transposed');
    expect(choose([128, 64, 3, 3], [8, 64, 8, 8], true)).toBe('flipped');
    expect(choose([128, 128, 3, 3], [8, 128, 8, 8])).toBe('flipped');
    const pointwise = { ...geometry, kernel: [1, 1], pads: [0, 0, 0, 0] };
    expect(choose([128, 64, 1, 1], [8, 64, 8, 8], false, pointwise)).toBe('flipped');
    expect(choose([12, 64, 3, 3], [8, 64, 16, 16], true, { ...geometry, strides: [2, 2] })).toBe('transposed');
  });
});
