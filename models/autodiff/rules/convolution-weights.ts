import { elementCount } from '../../tensors/tensor.js';
import type { Expressions, Value } from '../expressions.js';
import type { ConvolutionGeometry } from './convolutions.js';

/**
 * dW[m, c, k] = Σ_{n, p} g[n, m, p] · x̃[n, c, stride·p + dilation·k], x̃ the padded input: a matrix product over samples and
 * positions for each kernel element ("tap"). Three layouts, chosen by what was measured on onnxruntime's CPU provider
 * (batch 8, 64–256 channels, 8×8–32×32; relative to the fastest):
 *   stride 1       one product [M, N·P]·[N·P, C] per tap: 1.0; one product over all taps (im2col) 1.2–1.6; as a Conv 1.6–2.0
 *   stride > 1     im2col with channels last: 1.0; per tap 1.8
 *   grouped        im2col per sample and group (a batched product), then the sum over samples
 */
export function convolutionWeightGradient(e: Expressions, x: Value, g: Value, geometry: ConvolutionGeometry): Value {
  if (geometry.groups > 1) return grouped(e, x, g, geometry);
  if (geometry.strides.some((stride) => stride > 1)) return channelsLast(e, x, g, geometry);
  return perTap(e, x, g, geometry);
}

/** x: [N, C, …] → [C, N, …]; each tap gives [M, C], side by side [M, K·C]. */
function perTap(e: Expressions, x: Value, g: Value, geometry: ConvolutionGeometry): Value {
  const [samples, channels, outputs] = [x.dims[0] ?? 1, x.dims[1] ?? 1, g.dims[1] ?? 1];
  const rows = samples * elementCount(g.dims.slice(2));
  const spatial = geometry.kernel.map((_, axis) => axis + 2);
  const swapped = (value: Value) => e.transpose(value, [1, 0, ...spatial]);
  const gradient = e.reshape(swapped(g), [outputs, rows]);
  const products = taps(e, swapped(x), g, geometry, 2).map((tap) =>
    e.gemm(gradient, e.reshape(tap, [channels, rows]), { transB: true }),
  );
  return asWeight(e, e.concat(products, 1), channels, geometry);
}

/** x: [N, C, …] → [N, …, C]; taps side by side [N·P, K·C]. */
function channelsLast(e: Expressions, x: Value, g: Value, geometry: ConvolutionGeometry): Value {
  const [samples, channels, outputs] = [x.dims[0] ?? 1, x.dims[1] ?? 1, g.dims[1] ?? 1];
  const rows = samples * elementCount(g.dims.slice(2));
  const count = elementCount(geometry.kernel);
  const last = (value: Value) => e.transpose(value, [0, ...geometry.kernel.map((_, axis) => axis + 2), 1]);
  const columns = e.concat(taps(e, last(x), g, geometry, 1), geometry.kernel.length + 1);
  const product = e.gemm(e.reshape(last(g), [rows, outputs]), e.reshape(columns, [rows, count * channels]), {
    transA: true,
  });
  return asWeight(e, product, channels, geometry);
}

/** Per sample and group: [M/G, P] · [P, K·C/G]. */
function grouped(e: Expressions, x: Value, g: Value, geometry: ConvolutionGeometry): Value {
  const { groups, kernel } = geometry;
  const [samples, outputs] = [x.dims[0] ?? 1, g.dims[1] ?? 1];
  const channels = (x.dims[1] ?? 1) / groups;
  const positions = elementCount(g.dims.slice(2));
  const count = elementCount(kernel);
  const parts = taps(e, x, g, geometry, 2).map((tap) => e.reshape(tap, [samples, groups, 1, channels, positions]));
  const columns = e.reshape(e.concat(parts, 2), [samples, groups, count * channels, positions]);
  const gradient = e.reshape(g, [samples, groups, outputs / groups, positions]);
  const product = e.reduceSum(e.matMul(gradient, e.transposeLast(columns)), [0]);
  return asWeight(e, product, channels, geometry);
}

/** [M, K·C] in any dims → [M, C, …kernel]. */
function asWeight(e: Expressions, columns: Value, channels: number, { kernel }: ConvolutionGeometry): Value {
  const count = elementCount(kernel);
  const outputs = elementCount(columns.dims) / (count * channels);
  const split = e.transpose(e.reshape(columns, [outputs, count, channels]), [0, 2, 1]);
  return e.reshape(split, [outputs, channels, ...kernel]);
}

/** For each kernel element in row-major order, the padded input at the positions it meets; spatial axes start at `first`. */
function taps(e: Expressions, x: Value, g: Value, geometry: ConvolutionGeometry, first: number): Value[] {
  const { kernel, strides, dilations, pads } = geometry;
  const around = (offset: number) =>
    x.dims.map((_, axis) => {
      const spatial = axis - first;
      return spatial >= 0 && spatial < kernel.length ? (pads[spatial + offset] ?? 0) : 0;
    });
  const padded = e.pad(x, around(0), around(kernel.length));
  return Array.from({ length: elementCount(kernel) }, (_, index) => {
    let rest = index;
    const ranges = kernel
      .map((size, axis) => ({ size, axis }))
      .reverse()
      .map(({ size, axis }) => {
        const start = (rest % size) * (dilations[axis] ?? 1);
        rest = Math.floor(rest / size);
        const step = strides[axis] ?? 1;
        return { axis: axis + first, start, end: start + ((g.dims[axis + 2] ?? 1) - 1) * step + 1, step };
      });
    return e.slice(padded, ranges.reverse());
  });
}
