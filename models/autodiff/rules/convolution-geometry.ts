import type { Attribute, Node } from '../../onnx/graph.js';
import { attribute, intAttribute, intsAttribute, stringAttribute } from '../../onnx/graph.js';
import type { Value } from '../expressions.js';

/**
 * Geometry of a convolution over s spatial axes, of x [N, C, …] to y [N, M, …] with a weight [M, C/groups, …kernel]:
 * y[p] reads x[stride·p + dilation·k − pad] for kernel element k.
 */
export interface ConvolutionGeometry {
  readonly kernel: readonly number[];
  readonly strides: readonly number[];
  readonly dilations: readonly number[];
  /** Zeros around x: begins, then ends. */
  readonly pads: readonly number[];
  readonly groups: number;
}

/** Distance from the first to the last kernel element, per axis. */
export function reachOf({ kernel, dilations }: ConvolutionGeometry): number[] {
  return kernel.map((size, axis) => (dilations[axis] ?? 1) * (size - 1));
}

export function hasUnitStrides({ strides }: ConvolutionGeometry): boolean {
  return strides.every((stride) => stride === 1);
}

/** Attributes of the Conv or ConvTranspose with this geometry. */
export function attributesOf(geometry: ConvolutionGeometry): Record<string, Attribute> {
  return {
    kernel_shape: attribute.ints(geometry.kernel),
    strides: attribute.ints(geometry.strides),
    dilations: attribute.ints(geometry.dilations),
    pads: attribute.ints(geometry.pads),
    group: attribute.int(geometry.groups),
  };
}

/** Geometry of a Conv node that maps `x` to `y`; auto_pad becomes explicit pads (the odd one behind for SAME_UPPER). */
export function convolutionGeometry(node: Node, kernel: readonly number[], x: Value, y: Value): ConvolutionGeometry {
  const declared = declaredGeometry(node, kernel);
  const mode = stringAttribute(node, 'auto_pad', 'NOTSET');
  if (mode === 'NOTSET') return declared;
  const reach = reachOf(declared);
  const totals = kernel.map((_, axis) => {
    const needed = spanOf(y, axis, declared) + (reach[axis] ?? 0) - spatial(x, axis);
    return mode === 'VALID' ? 0 : Math.max(0, needed);
  });
  return { ...declared, pads: halves(totals, mode === 'SAME_LOWER') };
}

/**
 * Geometry of the convolution whose transpose a ConvTranspose node from `x` to `y` is: it maps y's dims to x's. Pads follow
 * from the dims when auto_pad or output_shape ask for it, the odd one behind for SAME_UPPER and else in front.
 */
export function transposedGeometry(node: Node, kernel: readonly number[], x: Value, y: Value): ConvolutionGeometry {
  const declared = declaredGeometry(node, kernel);
  const mode = stringAttribute(node, 'auto_pad', 'NOTSET');
  const shaped = node.attributes.has('output_shape');
  if (mode === 'VALID' && !shaped) return { ...declared, pads: kernel.flatMap(() => [0, 0]) };
  if (mode === 'NOTSET' && !shaped) return declared;
  const extra = intsAttribute(node, 'output_padding') ?? [];
  const reach = reachOf(declared);
  const totals = kernel.map((_, axis) => {
    const full = spanOf(x, axis, declared) + (reach[axis] ?? 0) + (extra[axis] ?? 0);
    return Math.max(0, full - spatial(y, axis));
  });
  return { ...declared, pads: halves(totals, mode !== 'SAME_UPPER') };
}

function declaredGeometry(node: Node, kernel: readonly number[]): ConvolutionGeometry {
  const ones = kernel.map(() => 1);
  return {
    kernel,
    strides: intsAttribute(node, 'strides') ?? ones,
    dilations: intsAttribute(node, 'dilations') ?? ones,
    pads: intsAttribute(node, 'pads') ?? kernel.flatMap(() => [0, 0]),
    groups: intAttribute(node, 'group', 1),
  };
}

function spatial(value: Value, axis: number): number {
  return value.dims[axis + 2] ?? 1;
}

/** Distance between what the first and the last output position read first, plus one. */
function spanOf(output: Value, axis: number, { strides }: ConvolutionGeometry): number {
  return (spatial(output, axis) - 1) * (strides[axis] ?? 1) + 1;
}

/** Totals as begins, then ends; the larger half in front when asked. */
function halves(totals: readonly number[], front: boolean): number[] {
  const small = totals.map((total) => Math.floor(total / 2));
  const large = totals.map((total) => Math.ceil(total / 2));
  return front ? [...large, ...small] : [...small, ...large];
}
