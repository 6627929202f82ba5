import { attribute } from '../../onnx/graph.js';
import { elementCount, int64 } from '../../tensors/tensor.js';
import type { Expressions, Value } from '../expressions.js';
import { attributesOf, type ConvolutionGeometry, hasUnitStrides, reachOf } from './convolution-geometry.js';

/**
 * dW[m, c, k] = Σ_{n, p} g[n, m, p] · x̃[n, c, stride·p + dilation·k], x̃ the padded x: a matrix product over samples and
 * positions for each kernel element ("tap").
 */
export interface WeightForm {
  readonly applies: (geometry: ConvolutionGeometry) => boolean;
  /** The gradient of the weight [M, C/groups, …kernel]; x [N, C, …], g [N, M, …]. */
  readonly write: (e: Expressions, x: Value, g: Value, geometry: ConvolutionGeometry) => Value;
}

const ungrouped = (geometry: ConvolutionGeometry) => geometry.groups === 1;

/** Equal in exact arithmetic; `npm run bench:autodiff` prints what each costs. */
export const WEIGHT_FORMS = {
  /** A product [M, N·P] · [N·P, C] with x shifted for each tap. */
  'input-taps': { applies: ungrouped, write: inputTaps },
  /** A product [C, N·X] · [N·X, M] with g shifted for each tap. */
  'gradient-taps': { applies: (geometry) => ungrouped(geometry) && hasUnitStrides(geometry), write: gradientTaps },
  /** One product [M, N·P] · [N·P, K·C] with what all taps read side by side (im2col). */
  columns: { applies: ungrouped, write: columns },
  /** A convolution with samples as channels and g as the kernel. */
  convolution: { applies: ungrouped, write: convolution },
  /** A product [M/G, P] · [P, K·C/G] per sample and group, then the sum over samples. */
  grouped: { applies: () => true, write: grouped },
} as const satisfies Readonly<Record<string, WeightForm>>;

export type WeightFormName = keyof typeof WEIGHT_FORMS;

/**
 * The fastest form, as measured on onnxruntime's CPU provider (one AVX-512 core, batch 8, 12 to 256 channels, 8 × 8 and
 * 16 × 16, and 320 channels at 32 × 32): taps of the side with fewer channels, but for a few shapes that docs/numerics.md
 * names. bench/results has the times of every form.
 */
export function chooseWeightForm(x: Value, g: Value, geometry: ConvolutionGeometry): WeightFormName {
  if (geometry.groups > 1) return 'grouped';
  const fewer = (g.dims[1] ?? 1) < (x.dims[1] ?? 1);
  return fewer && WEIGHT_FORMS['gradient-taps'].applies(geometry) ? 'gradient-taps' : 'input-taps';
}

function inputTaps(e: Expressions, x: Value, g: Value, geometry: ConvolutionGeometry): Value {
  const [outputs, channels] = [g.dims[1] ?? 1, x.dims[1] ?? 1];
  const rows = elementCount(g.dims) / outputs;
  const gradient = channelRows(e, g);
  const products = taps(e, channelsLast(e, x), g, geometry, 1).map((tap) =>
    e.gemm(gradient, e.reshape(tap, [rows, channels])),
  );
  return asWeight(e, e.concat(products, 1), channels, geometry);
}

/** x at position i meets g at position i + pad − dilation·k. */
function gradientTaps(e: Expressions, x: Value, g: Value, geometry: ConvolutionGeometry): Value {
  const { kernel, dilations, pads } = geometry;
  const [outputs, channels] = [g.dims[1] ?? 1, x.dims[1] ?? 1];
  const rows = elementCount(x.dims) / channels;
  const input = channelRows(e, x);
  const reach = reachOf(geometry);
  const before = kernel.map((_, axis) => Math.max(0, (reach[axis] ?? 0) - (pads[axis] ?? 0)));
  const after = kernel.map((_, axis) => Math.max(0, (reach[axis] ?? 0) - (pads[axis + kernel.length] ?? 0)));
  const padded = e.pad(channelsLast(e, g), [0, ...before, 0], [0, ...after, 0]);
  const products = kernelElements(kernel).map((element) => {
    const ranges = element.map((at, axis) => {
      const start = (before[axis] ?? 0) + (pads[axis] ?? 0) - at * (dilations[axis] ?? 1);
      return { axis: axis + 1, start, end: start + (x.dims[axis + 2] ?? 1) };
    });
    return e.gemm(input, e.reshape(e.slice(padded, ranges), [rows, outputs]));
  });
  const side = e.reshape(e.concat(products, 1), [channels, ...kernel, outputs]);
  return e.transpose(side, [kernel.length + 1, 0, ...kernel.map((_, axis) => axis + 1)]);
}

/** What every tap reads at every position, as one Gather of rows of channels. */
function columns(e: Expressions, x: Value, g: Value, geometry: ConvolutionGeometry): Value {
  const { kernel, strides, dilations } = geometry;
  const [samples, outputs, channels] = [x.dims[0] ?? 1, g.dims[1] ?? 1, x.dims[1] ?? 1];
  const padded = padAround(e, channelsLast(e, x), geometry, 1);
  const sizes = padded.dims.slice(1, -1);
  const elements = kernelElements(kernel);
  const indices = kernelElements(g.dims.slice(2)).flatMap((position) =>
    elements.map((element) =>
      sizes.reduce((index, size, axis) => {
        const at = (position[axis] ?? 0) * (strides[axis] ?? 1) + (element[axis] ?? 0) * (dilations[axis] ?? 1);
        return index * size + at;
      }, 0),
    ),
  );
  const table = e.constant(
    `columns:[${[sizes, g.dims.slice(2), kernel, strides, dilations].join('|')}]`,
    int64([indices.length], indices),
  );
  const flat = e.reshape(padded, [samples, elementCount(sizes), channels]);
  const gathered = e.emit('Gather', [flat, table], [samples, indices.length, channels], {
    attributes: { axis: attribute.int(1) },
  });
  const rows = elementCount(g.dims) / outputs;
  const product = e.gemm(channelRows(e, g), e.reshape(gathered, [rows, elements.length * channels]));
  return asWeight(e, product, channels, geometry);
}

/** Strides and dilations change places: the kernel steps over x as the taps do. Positions behind the last tap are cut off. */
function convolution(e: Expressions, x: Value, g: Value, geometry: ConvolutionGeometry): Value {
  const { kernel, strides, dilations, pads } = geometry;
  const spatial = kernel.map((_, axis) => axis + 2);
  const swapped = (value: Value) => e.transpose(value, [1, 0, ...spatial]);
  const size = g.dims.slice(2);
  const found = kernel.map((_, axis) => {
    const padded = (x.dims[axis + 2] ?? 1) + (pads[axis] ?? 0) + (pads[axis + kernel.length] ?? 0);
    return Math.floor((padded - ((size[axis] ?? 1) - 1) * (strides[axis] ?? 1) - 1) / (dilations[axis] ?? 1)) + 1;
  });
  const attributes = attributesOf({ ...geometry, kernel: size, strides: dilations, dilations: strides });
  const product = e.emit('Conv', [swapped(x), swapped(g)], [x.dims[1] ?? 1, g.dims[1] ?? 1, ...found], { attributes });
  return swapped(
    e.slice(
      product,
      kernel.map((end, axis) => ({ axis: axis + 2, start: 0, end })),
    ),
  );
}

function grouped(e: Expressions, x: Value, g: Value, geometry: ConvolutionGeometry): Value {
  const { groups, kernel } = geometry;
  const [samples, outputs] = [x.dims[0] ?? 1, g.dims[1] ?? 1];
  const channels = (x.dims[1] ?? 1) / groups;
  const positions = elementCount(g.dims.slice(2));
  const count = elementCount(kernel);
  const parts = taps(e, x, g, geometry, 2).map((tap) => e.reshape(tap, [samples, groups, 1, channels, positions]));
  const wide = e.reshape(e.concat(parts, 2), [samples, groups, count * channels, positions]);
  const gradient = e.reshape(g, [samples, groups, outputs / groups, positions]);
  const product = e.reduceSum(e.matMul(gradient, e.transposeLast(wide)), [0]);
  return asWeight(e, product, channels, geometry);
}

/** [N, C, …] → [C, N·…]. */
function channelRows(e: Expressions, value: Value): Value {
  const channels = value.dims[1] ?? 1;
  const order = [1, 0, ...value.dims.slice(2).map((_, axis) => axis + 2)];
  return e.reshape(e.transpose(value, order), [channels, elementCount(value.dims) / channels]);
}

/** [N, C, …] → [N, …, C]. */
function channelsLast(e: Expressions, value: Value): Value {
  return e.transpose(value, [0, ...value.dims.slice(2).map((_, axis) => axis + 2), 1]);
}

/** [M, K·C] in any dims → [M, C, …kernel]. */
function asWeight(e: Expressions, side: Value, channels: number, { kernel }: ConvolutionGeometry): Value {
  const count = elementCount(kernel);
  const outputs = elementCount(side.dims) / (count * channels);
  const split = e.reshape(side, [outputs, ...kernel, channels]);
  return e.transpose(split, [0, kernel.length + 1, ...kernel.map((_, axis) => axis + 1)]);
}

/** Zeros around x; spatial axes start at `first`. */
function padAround(e: Expressions, x: Value, { kernel, pads }: ConvolutionGeometry, first: number): Value {
  const around = (offset: number) =>
    x.dims.map((_, axis) => {
      const spatial = axis - first;
      return spatial >= 0 && spatial < kernel.length ? (pads[spatial + offset] ?? 0) : 0;
    });
  return e.pad(x, around(0), around(kernel.length));
}

/** For each kernel element, the padded x at the positions it meets; spatial axes start at `first`. */
function taps(e: Expressions, x: Value, g: Value, geometry: ConvolutionGeometry, first: number): Value[] {
  const { kernel, strides, dilations } = geometry;
  const padded = padAround(e, x, geometry, first);
  return kernelElements(kernel).map((element) =>
    e.slice(
      padded,
      element.map((at, axis) => {
        const start = at * (dilations[axis] ?? 1);
        const step = strides[axis] ?? 1;
        return { axis: axis + first, start, end: start + ((g.dims[axis + 2] ?? 1) - 1) * step + 1, step };
      }),
    ),
  );
}

/** All index tuples within `sizes`, in row-major order. */
function kernelElements(sizes: readonly number[]): number[][] {
  return sizes.reduce<number[][]>(
    (tuples, size) => tuples.flatMap((tuple) => Array.from({ length: size }, (_, at) => [...tuple, at])),
    [[]],
  );
}
