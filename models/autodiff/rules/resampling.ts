import { type Node, stringAttribute } from '../../onnx/graph.js';
import type { Expressions, Value } from '../expressions.js';

/**
 * Resampling is linear and separable: along one axis, out[i] = Σ_j M[i, j] · in[j] with a matrix M that depends on sizes
 * alone. The gradient is the transposed matrix along each axis. The matrices follow onnx/docs/Operators.md and, where that
 * leaves room (float32 coordinates, ties, borders), onnxruntime's CPU kernels.
 */
export interface AxisMatrix {
  /** Names its content. */
  readonly key: string;
  readonly rows: number;
  readonly columns: number;
  /** Row-major M[i, j]. */
  readonly values: Float64Array;
}

/** A matrix from the entries (column, weight) of each row; weights of equal columns add up. */
export function axisMatrix(
  key: string,
  rows: number,
  columns: number,
  entries: (row: number) => readonly (readonly [column: number, weight: number])[],
): AxisMatrix {
  const values = new Float64Array(rows * columns);
  for (let row = 0; row < rows; row += 1) {
    for (const [column, weight] of entries(row))
      values[row * columns + column] = (values[row * columns + column] ?? 0) + weight;
  }
  return { key, rows, columns, values };
}

/** Mᵀ along `axis`: dims[axis] goes from M's rows to M's columns. */
export function transposedAlong(e: Expressions, g: Value, axis: number, matrix: AxisMatrix): Value {
  const { key, rows, columns, values } = matrix;
  const outer = g.dims.slice(0, axis).reduce((product, dim) => product * dim, 1);
  const inner = g.dims.slice(axis + 1).reduce((product, dim) => product * dim, 1);
  const dims = g.dims.with(axis, columns);
  if (inner === 1) {
    const m = e.numbers(key, [rows, columns], values, g.type);
    return e.reshape(e.matMul(e.reshape(g, [outer, rows]), m), dims);
  }
  const transposed = new Float64Array(values.length);
  for (let row = 0; row < rows; row += 1) {
    for (let column = 0; column < columns; column += 1) {
      transposed[column * rows + row] = values[row * columns + column] ?? 0;
    }
  }
  const m = e.numbers(`${key}:transposed`, [columns, rows], transposed, g.type);
  return e.reshape(e.matMul(m, e.reshape(g, [outer, rows, inner])), dims);
}

/** What Resize does along one axis. */
export interface Resampling {
  readonly from: number;
  readonly to: number;
  readonly scale: number;
  readonly mode: string;
  readonly coordinates: string;
  readonly rounding: string;
  readonly cubicCoefficient: number;
  readonly excludesOutside: boolean;
}

/** The matrix [to, from] of a Resize along one axis. */
export function resizeMatrix(resampling: Resampling): AxisMatrix {
  const { from, to, scale, mode, coordinates, rounding, cubicCoefficient, excludesOutside } = resampling;
  const key = ['resize', mode, coordinates, rounding, cubicCoefficient, excludesOutside, from, to, scale].join(':');
  const weights = WEIGHTS[mode];
  if (weights === undefined) throw new RangeError(`unknown Resize mode ${mode}`);
  return axisMatrix(key, to, from, (row) => weights(sourceCoordinate(row, resampling), resampling));
}

type Weights = (coordinate: number, resampling: Resampling) => (readonly [number, number])[];

const WEIGHTS: Readonly<Record<string, Weights>> = {
  nearest: nearestWeights,
  linear: linearWeights,
  cubic: cubicWeights,
};

type Coordinate = (position: number, resampling: Resampling) => number;

/** Where an output position lies in the input; position and result count elements from 0. */
const COORDINATES: Readonly<Record<string, Coordinate>> = {
  asymmetric: (x, { scale }) => x / scale,
  half_pixel: (x, { scale }) => (x + 0.5) / scale - 0.5,
  pytorch_half_pixel: (x, { scale, to }) => (to > 1 ? (x + 0.5) / scale - 0.5 : 0),
  align_corners: (x, { from, to }) => (to === 1 ? 0 : (x * (from - 1)) / (to - 1)),
  half_pixel_symmetric: (x, { scale, from, to }) => {
    const adjustment = to / (scale * from);
    return (from / 2) * (1 - adjustment) + (x + 0.5) / scale - 0.5;
  },
};

function sourceCoordinate(position: number, resampling: Resampling): number {
  const coordinate = COORDINATES[resampling.coordinates];
  if (coordinate === undefined) throw new RangeError(`unknown coordinate mode ${resampling.coordinates}`);
  return Math.fround(coordinate(position, resampling));
}

const ROUNDINGS: Readonly<Record<string, (x: number) => number>> = {
  round_prefer_floor: (x) => Math.ceil(x - 0.5),
  round_prefer_ceil: (x) => Math.floor(x + 0.5),
  floor: Math.floor,
  ceil: Math.ceil,
};

function nearestWeights(coordinate: number, { from, rounding }: Resampling): [number, number][] {
  const round = ROUNDINGS[rounding];
  if (round === undefined) throw new RangeError(`unknown nearest_mode ${rounding}`);
  return [[clamped(round(coordinate), from), 1]];
}

function linearWeights(coordinate: number, { from }: Resampling): [number, number][] {
  const x = Math.min(Math.max(coordinate, 0), from - 1);
  const left = Math.floor(x);
  return [
    [left, 1 - (x - left)],
    [clamped(left + 1, from), x - left],
  ];
}

/** Keys 1981, "Cubic Convolution Interpolation for Digital Image Processing"; a is `cubic_coeff_a`. */
function cubicWeights(
  coordinate: number,
  { from, cubicCoefficient: a, excludesOutside }: Resampling,
): [number, number][] {
  const left = Math.floor(coordinate);
  const s = coordinate - left;
  const near = (d: number) => ((a + 2) * d - (a + 3)) * d * d + 1;
  const far = (d: number) => ((a * d - 5 * a) * d + 8 * a) * d - 4 * a;
  const weights = [far(s + 1), near(s), near(1 - s), far(2 - s)];
  const places = weights.map((weight, index) => ({ at: left - 1 + index, weight }));
  if (!excludesOutside) return places.map(({ at, weight }) => [clamped(at, from), weight]);
  const inside = places.filter(({ at }) => at >= 0 && at < from);
  const total = inside.reduce((sum, { weight }) => sum + weight, 0);
  return inside.map(({ at, weight }) => [at, weight / total]);
}

function clamped(index: number, size: number): number {
  return Math.min(Math.max(index, 0), size - 1);
}

/** Whether the coordinate and rounding modes of a Resize node are ones of this file; else what is not. */
export function unknownResize(node: Node): string | undefined {
  const mode = stringAttribute(node, 'mode', 'nearest');
  const coordinates = stringAttribute(node, 'coordinate_transformation_mode', 'half_pixel');
  const rounding = stringAttribute(node, 'nearest_mode', 'round_prefer_floor');
  if (WEIGHTS[mode] === undefined) return `mode ${mode}`;
  if (COORDINATES[coordinates] === undefined) return `${coordinates} coordinates`;
  return ROUNDINGS[rounding] === undefined ? `nearest_mode ${rounding}` : undefined;
}

/** The input element that each output element of a Pad copies along one axis; `size` elements, `before` and `after` more. */
export function padMatrix(mode: string, size: number, before: number, after: number): AxisMatrix {
  const source = PAD_SOURCES[mode];
  if (source === undefined) throw new RangeError(`unknown Pad mode ${mode}`);
  const rows = size + before + after;
  return axisMatrix(`pad:${mode}:${size}:${before}:${after}`, rows, size, (row) => [[source(row - before, size), 1]]);
}

export const PAD_SOURCES: Readonly<Record<string, (position: number, size: number) => number>> = {
  edge: clamped,
  wrap: (position, size) => ((position % size) + size) % size,
  reflect: (position, size) => {
    if (size === 1) return 0;
    const period = 2 * (size - 1);
    const at = ((position % period) + period) % period;
    return at < size ? at : period - at;
  },
};
