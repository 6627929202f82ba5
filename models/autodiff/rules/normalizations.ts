import { floatAttribute, intAttribute } from '../../onnx/graph.js';
import type { Expressions, Value } from '../expressions.js';
import { type Gradient, plain, times, unbroadcast } from '../gradient.js';
import { type Contributions, normalizedAxis, type OperatorRule, type RuleContext } from '../rule.js';

/**
 * Normalizations y = scale · x̂ + bias, x̂ = (x − mean) · r, r = 1/√(var + ε), mean and var over `axes`:
 *   dx = r · (h − mean(h) − x̂ · mean(h·x̂)) with h = g · scale
 * (Ba, Kiros, Hinton 2016, "Layer Normalization"; Ioffe & Szegedy 2015 for the derivation).
 */
interface Normalized {
  readonly hat: Value;
  /** r, with the axes kept as size 1. */
  readonly inverseDeviation: Value;
}

function normalize(e: Expressions, x: Value, axes: readonly number[], epsilon: number, hat?: Value): Normalized {
  const centred = e.sub(x, e.reduceMean(x, axes));
  const variance = e.reduceMean(e.mul(centred, centred), axes);
  const deviation = e.unary('Sqrt', e.add(variance, e.uniform(epsilon, x.type)));
  const inverseDeviation = e.unary('Reciprocal', deviation);
  return { hat: hat ?? e.mul(centred, inverseDeviation), inverseDeviation };
}

/** (h − mean(h) − x̂ · mean(h·x̂)), still to be multiplied by r. */
function centredGradient(e: Expressions, h: Value, hat: Value, axes: readonly number[]): Value {
  const along = e.reduceMean(e.mul(h, hat), axes);
  return e.sub(e.sub(h, e.reduceMean(h, axes)), e.mul(hat, along));
}

function from(start: number, end: number): number[] {
  return Array.from({ length: end - start }, (_, index) => start + index);
}

/** x [N, C, …]: mean and var of each channel of each sample; scale and bias [C]. */
function instanceNormalization(c: RuleContext): Contributions {
  const { e } = c;
  const [x, scale, bias] = [c.input(0), c.input(1), c.input(2)];
  const axes = from(2, x.dims.length);
  const bare = scale.uniform === 1 && bias.uniform === 0;
  const epsilon = floatAttribute(c.node, 'epsilon', 1e-5);
  const { hat, inverseDeviation } = normalize(e, x, axes, epsilon, bare ? c.output() : undefined);
  const perChannel = [x.dims[1] ?? 1, ...axes.map(() => 1)];
  const g = c.gradient();
  const toX = (): Gradient => {
    const gradient = times(plain(centredGradient(e, g, hat, axes)), inverseDeviation);
    return bare ? gradient : times(gradient, e.reshape(scale, perChannel));
  };
  const channelSum = (value: Value) => e.reshape(e.reduceSum(value, [0, ...axes]), scale.dims);
  return [
    c.wants(0) ? toX() : undefined,
    c.wants(1) ? channelSum(e.mul(g, hat)) : undefined,
    c.wants(2) ? channelSum(g) : undefined,
  ];
}

/** Mean and var over the axes from `axis` on; onnxruntime hands out mean and r as optional outputs. */
function layerNormalization(c: RuleContext): Contributions {
  const { e } = c;
  const [x, scale] = [c.input(0), c.input(1)];
  const rank = x.dims.length;
  const axes = from(normalizedAxis(intAttribute(c.node, 'axis', -1), rank), rank);
  const dims = x.dims.map((dim, axis) => (axes.includes(axis) ? 1 : dim));
  const mean = statistic(c, 1, 'mean', dims);
  const inverseDeviation = statistic(c, 2, 'inverse_deviation', dims);
  const bare = scale.uniform === 1 && (!c.hasInput(2) || c.input(2).uniform === 0);
  const hat = bare ? c.output() : e.mul(e.sub(x, mean), inverseDeviation);
  const g = c.gradient();
  const parameter = (value: Value, index: number) => unbroadcast(e, plain(value), c.input(index).dims, x.dims);
  return [
    c.wants(0) ? times(plain(centredGradient(e, e.mul(g, scale), hat, axes)), inverseDeviation) : undefined,
    c.wants(1) ? parameter(e.mul(g, hat), 1) : undefined,
    c.wants(2) ? parameter(g, 2) : undefined,
  ];
}

/** An optional float32 output of the forward node, asked for when it is not there yet. */
function statistic(c: RuleContext, index: number, suffix: string, dims: readonly number[]): Value {
  const { node, e } = c;
  while (node.outputs.length <= index) node.outputs.push('');
  if (node.outputs[index] === '') node.outputs[index] = e.fresh(`grad/${e.scope}/${suffix}`);
  return { name: node.outputs[index] ?? '', dims, type: c.input(0).type };
}

/** x [N, C, …] in groups of channels; scale and bias [C], or [groups] before opset 21. */
function groupNormalization(c: RuleContext): Contributions {
  const { e } = c;
  const [x, scale] = [c.input(0), c.input(1)];
  const [batch, channels] = [x.dims[0] ?? 1, x.dims[1] ?? 1];
  const groups = intAttribute(c.node, 'num_groups', 1);
  const perGroup = e.graph.opset < 21;
  const parts = perGroup ? [groups, channels / groups] : [channels, 1];
  const wide = [batch, ...parts, ...x.dims.slice(2)];
  const flat = (value: Value) =>
    e.reshape(
      value,
      [batch, groups, -1].map((dim) => (dim < 0 ? size(x) / (batch * groups) : dim)),
    );
  const { hat, inverseDeviation } = normalize(e, flat(x), [2], floatAttribute(c.node, 'epsilon', 1e-5));
  const g = c.gradient();
  const scaleWide = e.reshape(scale, [parts[0] ?? 1, ...wide.slice(2).map(() => 1)]);
  const h = flat(e.reshape(e.mul(e.reshape(g, wide), scaleWide), x.dims));
  const parameter = (value: Value) => {
    const axes = [0, ...from(2, wide.length)];
    return e.reshape(e.reduceSum(e.reshape(value, wide), axes), scale.dims);
  };
  const toX = () => e.reshape(e.mul(centredGradient(e, h, hat, [2]), inverseDeviation), x.dims);
  return [
    c.wants(0) ? toX() : undefined,
    c.wants(1) ? parameter(e.mul(flat(g), hat)) : undefined,
    c.wants(2) ? parameter(g) : undefined,
  ];
}

function size(value: Value): number {
  return value.dims.reduce((product, dim) => product * dim, 1);
}

export const NORMALIZATION_RULES: Readonly<Record<string, OperatorRule>> = {
  InstanceNormalization: { inputs: 'all', vjp: instanceNormalization },
  LayerNormalization: { inputs: 'all', vjp: layerNormalization },
  GroupNormalization: { inputs: 'all', vjp: groupNormalization },
};
