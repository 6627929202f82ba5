import {
  type Attribute,
  attribute,
  intAttribute,
  intsAttribute,
  type Node,
  stringAttribute,
} from '../../onnx/graph.js';
import { elementCount } from '../../tensors/tensor.js';
import type { Value } from '../expressions.js';
import { scaleBy } from '../gradient.js';
import type { Contributions, OperatorRule, RuleContext } from '../rule.js';
import { axisMatrix, transposedAlong } from './resampling.js';

/** Pools over the spatial axes of [N, C, …]. */

/** A window along one spatial axis. */
interface Window {
  readonly size: number;
  readonly stride: number;
  readonly dilation: number;
  readonly before: number;
  readonly after: number;
}

function windowsOf(node: Node, x: Value, y: Value): Window[] {
  const kernel = intsAttribute(node, 'kernel_shape') ?? [];
  const count = kernel.length;
  const mode = stringAttribute(node, 'auto_pad', 'NOTSET');
  const pads = mode === 'NOTSET' ? intsAttribute(node, 'pads') : undefined;
  return kernel.map((size, axis) => {
    const stride = intsAttribute(node, 'strides')?.[axis] ?? 1;
    const dilation = intsAttribute(node, 'dilations')?.[axis] ?? 1;
    const declared = { before: pads?.[axis] ?? 0, after: pads?.[axis + count] ?? 0 };
    if (!mode.startsWith('SAME')) return { size, stride, dilation, ...declared };
    const covered = ((y.dims[axis + 2] ?? 1) - 1) * stride + (size - 1) * dilation + 1;
    const total = Math.max(0, covered - (x.dims[axis + 2] ?? 1));
    const small = Math.floor(total / 2);
    const before = mode === 'SAME_UPPER' ? small : total - small;
    return { size, stride, dilation, before, after: total - before };
  });
}

/** The mean over a window is a mean over rows of means over columns: one matrix for each axis. */
function averaged(c: RuleContext): Contributions {
  const { e, node } = c;
  const [x, y] = [c.input(0), c.output()];
  const counted = intAttribute(node, 'count_include_pad', 0) === 1;
  let g = c.gradient();
  for (const [index, window] of windowsOf(node, x, y).entries()) {
    const axis = index + 2;
    g = transposedAlong(e, g, axis, meanMatrix(window, y.dims[axis] ?? 1, x.dims[axis] ?? 1, counted));
  }
  return [g];
}

/** [outputs, inputs]: 1/count at the inputs of each window; pads count as zeros when `counted`, what lies behind them never. */
function meanMatrix(window: Window, outputs: number, inputs: number, counted: boolean) {
  const { size, stride, dilation, before, after } = window;
  const key = ['mean', size, stride, dilation, before, after, outputs, inputs, counted].join(':');
  return axisMatrix(key, outputs, inputs, (row) => {
    const positions = Array.from({ length: size }, (_, tap) => row * stride - before + tap * dilation);
    const inside = positions.filter((position) => position >= 0 && position < inputs);
    const count = counted ? positions.filter((position) => position < inputs + after).length : inside.length;
    return inside.map((position) => [position, 1 / count] as const);
  });
}

/** g to the element each window took: the pool hands out its index among all elements. Windows that overlap add up. */
function maximum(c: RuleContext): Contributions {
  const { e } = c;
  const [x, y] = [c.input(0), c.output()];
  const indices = c.extraOutput(1, 'indices', y.dims, 'int64');
  const [total, count] = [elementCount(x.dims), elementCount(y.dims)];
  const zeros = e.expand(e.uniform(0, x.type), [total]);
  const attributes: Record<string, Attribute> = { axis: attribute.int(0) };
  if (overlaps(c.node)) attributes.reduction = attribute.string('add');
  const spread = e.emit(
    'ScatterElements',
    [zeros, e.reshape(indices, [count]), e.reshape(c.gradient(), [count])],
    [total],
    { attributes },
  );
  return [e.reshape(spread, x.dims)];
}

function overlaps(node: Node): boolean {
  const strides = intsAttribute(node, 'strides');
  const dilations = intsAttribute(node, 'dilations');
  return (intsAttribute(node, 'kernel_shape') ?? []).some(
    (size, axis) => (size - 1) * (dilations?.[axis] ?? 1) >= (strides?.[axis] ?? 1),
  );
}

/** Scattering with addition came with opset 16. */
function refusesMaximum(node: Node, _: unknown, opset: number): string | undefined {
  if (intAttribute(node, 'storage_order', 0) !== 0) return 'storage_order 1';
  return opset < 16 && overlaps(node) ? 'overlapping windows before opset 16' : undefined;
}

function spatialSize(c: RuleContext): number {
  return elementCount(c.input(0).dims.slice(2));
}

/** g to the largest element of each channel, in equal shares on a tie. */
function globalMaximum(c: RuleContext): Contributions {
  const { e } = c;
  const x = c.input(0);
  const axes = x.dims.map((_, axis) => axis).slice(2);
  const attained = e.cast(e.compare('Equal', x, c.output()), x.type);
  return [e.mul(attained, e.div(c.gradient(), e.reduceSum(attained, axes)))];
}

export const POOL_RULES: Readonly<Record<string, OperatorRule>> = {
  AveragePool: { inputs: [0], vjp: averaged },
  MaxPool: { inputs: [0], flatOutputs: [1], vjp: maximum, refuses: refusesMaximum },
  /** The gradient stays unexpanded: it broadcasts. */
  GlobalAveragePool: { inputs: [0], vjp: (c) => [scaleBy(c.scaled(), 1 / spatialSize(c))] },
  GlobalMaxPool: { inputs: [0], vjp: globalMaximum },
};
