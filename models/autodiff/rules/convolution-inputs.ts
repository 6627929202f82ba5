import { attribute } from '../../onnx/graph.js';
import { elementCount } from '../../tensors/tensor.js';
import type { Expressions, Value } from '../expressions.js';
import { attributesOf, type ConvolutionGeometry, hasUnitStrides, reachOf } from './convolution-geometry.js';

/**
 * dX[c, i] = Σ_{m, k} W[m, c, k] · g[m, (i + pad − dilation·k) / stride], over output positions that exist.
 */
export interface InputForm {
  readonly applies: (geometry: ConvolutionGeometry) => boolean;
  /** The gradient of x [N, C, …]; g [N, M, …], w [M, C/groups, …kernel]. */
  readonly write: (e: Expressions, g: Value, w: Value, dims: readonly number[], geometry: ConvolutionGeometry) => Value;
}

/** Equal in exact arithmetic; `npm run bench:autodiff` prints what each costs. */
export const INPUT_FORMS = {
  /** The transposed convolution of g with W. Gathers C rows per kernel element. */
  transposed: { applies: () => true, write: transposed },
  /** The convolution of g with W flipped in space and transposed in channels. Gathers M rows per kernel element. */
  flipped: {
    applies: (geometry) => {
      const { pads, groups } = geometry;
      const reach = reachOf(geometry);
      return (
        hasUnitStrides(geometry) &&
        groups === 1 &&
        pads.every((pad, index) => pad <= (reach[index % reach.length] ?? 0))
      );
    },
    write: flipped,
  },
} as const satisfies Readonly<Record<string, InputForm>>;

export type InputFormName = keyof typeof INPUT_FORMS;

/**
 * The faster form, as measured on onnxruntime's CPU provider (one AVX-512 core, batch 8, 12 to 256 channels, 8 × 8 and
 * 16 × 16, and 320 channels at 32 × 32): flipped where C ≥ M, and for kernels of one element, where there is nothing to flip. With
 * a constant weight onnxruntime runs the flipped form in its blocked layout, 0.5 to 0.6 of either.
 */
export function chooseInputForm(
  w: Value,
  dims: readonly number[],
  geometry: ConvolutionGeometry,
  constant: boolean,
): InputFormName {
  if (!INPUT_FORMS.flipped.applies(geometry)) return 'transposed';
  const [channels, outputs] = [dims[1] ?? 1, w.dims[0] ?? 1];
  const pointwise = geometry.kernel.every((size) => size === 1);
  return constant || pointwise || channels >= outputs ? 'flipped' : 'transposed';
}

function transposed(e: Expressions, g: Value, w: Value, dims: readonly number[], geometry: ConvolutionGeometry): Value {
  const { kernel, strides, pads } = geometry;
  const reach = reachOf(geometry);
  const rest = kernel.map((_, axis) => {
    const covered = ((g.dims[axis + 2] ?? 1) - 1) * (strides[axis] ?? 1) + (reach[axis] ?? 0) + 1;
    return (dims[axis + 2] ?? 1) + (pads[axis] ?? 0) + (pads[axis + kernel.length] ?? 0) - covered;
  });
  const attributes = { ...attributesOf(geometry), output_padding: attribute.ints(rest) };
  return e.emit('ConvTranspose', [g, w], dims, { attributes });
}

function flipped(e: Expressions, g: Value, w: Value, dims: readonly number[], geometry: ConvolutionGeometry): Value {
  const axes = geometry.kernel.map((_, axis) => axis + 2);
  const reach = reachOf(geometry);
  const pads = geometry.pads.map((pad, index) => (reach[index % reach.length] ?? 0) - pad);
  const turned = turnedAround(e, e.transpose(w, [1, 0, ...axes]), geometry.kernel);
  return e.emit('Conv', [g, turned], dims, { attributes: attributesOf({ ...geometry, pads }) });
}

/** The kernel's elements in reverse order, by a permutation matrix: a Slice with negative steps and a Gather take longer. */
function turnedAround(e: Expressions, w: Value, kernel: readonly number[]): Value {
  const count = elementCount(kernel);
  if (count === 1) return w;
  const ones = Array.from({ length: count }, (_, row) => Array.from({ length: count }, (_, at) => row + at));
  const matrix = ones.flat().map((sum) => (sum === count - 1 ? 1 : 0));
  const permutation = e.numbers(`turn:${count}`, [count, count], matrix, w.type);
  return e.reshape(e.matMul(e.reshape(w, [elementCount(w.dims) / count, count]), permutation), w.dims);
}
