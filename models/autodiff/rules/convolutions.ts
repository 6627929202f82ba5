import { intsAttribute, type Node } from '../../onnx/graph.js';
import type { Expressions, Value } from '../expressions.js';
import type { Contributions, OperatorRule, RuleContext } from '../rule.js';
import {
  attributesOf,
  type ConvolutionGeometry,
  convolutionGeometry,
  transposedGeometry,
} from './convolution-geometry.js';
import { chooseInputForm, INPUT_FORMS } from './convolution-inputs.js';
import { chooseWeightForm, WEIGHT_FORMS } from './convolution-weights.js';

/** Y = X ∗ W + bias; X [N, C, …], W [M, C/groups, …], Y [N, M, …]. */
function convolution(c: RuleContext): Contributions {
  const { e } = c;
  const [x, w] = [c.input(0), c.input(1)];
  const geometry = convolutionGeometry(c.node, w.dims.slice(2), x, c.output());
  const g = c.gradient();
  const constant = c.constantOf(w.name) !== undefined;
  const toX = () => INPUT_FORMS[chooseInputForm(w, x.dims, geometry, constant)].write(e, g, w, x.dims, geometry);
  return [
    c.wants(0) ? toX() : undefined,
    c.wants(1) ? weightGradient(e, x, g, geometry) : undefined,
    c.wants(2) ? channelSum(e, g) : undefined,
  ];
}

/** The adjoint of a convolution from y's dims to x's: dX = g ∗ W, and dW as of that convolution. W [C, M/groups, …]. */
function transposedConvolution(c: RuleContext): Contributions {
  const { e } = c;
  const [x, w] = [c.input(0), c.input(1)];
  const g = c.gradient();
  const geometry = transposedGeometry(c.node, w.dims.slice(2), x, c.output());
  return [
    c.wants(0) ? e.emit('Conv', [g, w], x.dims, { attributes: attributesOf(geometry) }) : undefined,
    c.wants(1) ? weightGradient(e, g, x, geometry) : undefined,
    c.wants(2) ? channelSum(e, g) : undefined,
  ];
}

function weightGradient(e: Expressions, x: Value, g: Value, geometry: ConvolutionGeometry): Value {
  return WEIGHT_FORMS[chooseWeightForm(x, g, geometry)].write(e, x, g, geometry);
}

function channelSum(e: Expressions, g: Value): Value {
  const axes = g.dims.map((_, axis) => axis).filter((axis) => axis !== 1);
  return e.reshape(e.reduceSum(g, axes), [g.dims[1] ?? 1]);
}

/** Rows behind the last output position would be one more position of the convolution back; onnxruntime refuses them as well. */
function refusesTransposed(node: Node): string | undefined {
  const strides = intsAttribute(node, 'strides') ?? [];
  const extra = intsAttribute(node, 'output_padding') ?? [];
  return extra.some((size, axis) => size >= (strides[axis] ?? 1) && size > 0) ? 'output_padding ≥ stride' : undefined;
}

export const CONVOLUTION_RULES: Readonly<Record<string, OperatorRule>> = {
  Conv: { inputs: 'all', vjp: convolution },
  ConvTranspose: { inputs: 'all', vjp: transposedConvolution, refuses: refusesTransposed },
};
