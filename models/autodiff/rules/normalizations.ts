import { floatAttribute, intAttribute, intsAttribute } from '../../onnx/graph.js';
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

/** Mean and var over the axes from `axis` on; onnxruntime hands out mean and r as optional float32 outputs. */
function layerNormalization(c: RuleContext): Contributions {
  const { e } = c;
  const [x, scale] = [c.input(0), c.input(1)];
  const rank = x.dims.length;
  const axes = from(normalizedAxis(intAttribute(c.node, 'axis', -1), rank), rank);
  const bare = scale.uniform === 1 && (!c.hasInput(2) || c.input(2).uniform === 0);
  const { hat, inverseDeviation } = layerStatistics(c, x, axes, bare ? c.output() : undefined);
  const g = c.gradient();
  const parameter = (value: Value, index: number) => unbroadcast(e, plain(value), c.input(index).dims, x.dims);
  return [
    c.wants(0) ? times(plain(centredGradient(e, e.mul(g, scale), hat, axes)), inverseDeviation) : undefined,
    c.wants(1) ? parameter(e.mul(g, hat), 1) : undefined,
    c.wants(2) ? parameter(g, 2) : undefined,
  ];
}

function layerStatistics(c: RuleContext, x: Value, axes: readonly number[], hat: Value | undefined): Normalized {
  const { e } = c;
  if (x.type !== 'float32') return normalize(e, x, axes, floatAttribute(c.node, 'epsilon', 1e-5), hat);
  const dims = x.dims.map((dim, axis) => (axes.includes(axis) ? 1 : dim));
  const mean = c.extraOutput(1, 'mean', dims, 'float32');
  const inverseDeviation = c.extraOutput(2, 'inverse_deviation', dims, 'float32');
  return { hat: hat ?? e.mul(e.sub(x, mean), inverseDeviation), inverseDeviation };
}

/**
 * y = scale · x̂, x̂ = x · r, r = 1/√(mean(x²) + ε) over the axes from `axis` on: dx = r · (h − x̂ · mean(h·x̂)) with h = g · scale
 * (Zhang & Sennrich 2019, "Root Mean Square Layer Normalization").
 */
function rootMeanSquareNormalization(c: RuleContext): Contributions {
  const { e } = c;
  const [x, scale] = [c.input(0), c.input(1)];
  const rank = x.dims.length;
  const axes = from(normalizedAxis(intAttribute(c.node, 'axis', -1), rank), rank);
  const epsilon = e.uniform(floatAttribute(c.node, 'epsilon', 1e-5), x.type);
  const meanSquare = e.reduceMean(e.mul(x, x), axes);
  const inverse = e.unary('Reciprocal', e.unary('Sqrt', e.add(meanSquare, epsilon)));
  const hat = e.mul(x, inverse);
  const g = c.gradient();
  const h = e.mul(g, scale);
  const toX = () => e.sub(h, e.mul(hat, e.reduceMean(e.mul(h, hat), axes)));
  return [
    c.wants(0) ? times(plain(toX()), inverse) : undefined,
    c.wants(1) ? unbroadcast(e, plain(e.mul(g, hat)), scale.dims, x.dims) : undefined,
  ];
}

/** y = x / n, n = ‖x‖_p along one axis: dx = (g − s · Σ g·y) / n with s = y for p = 2, sign(x) for p = 1. */
function unitNorm(c: RuleContext): Contributions {
  const { e } = c;
  const [x, y, g] = [c.input(0), c.output(), c.gradient()];
  const axes = [normalizedAxis(intAttribute(c.node, 'axis', -1), x.dims.length)];
  const isEuclidean = intAttribute(c.node, 'p', 2) === 2;
  const size = isEuclidean ? e.unary('Sqrt', e.reduceSum(e.mul(x, x), axes)) : e.reduceSum(e.unary('Abs', x), axes);
  const along = e.mul(isEuclidean ? y : e.unary('Sign', x), e.reduceSum(e.mul(g, y), axes));
  return [e.div(e.sub(g, along), size)];
}

/** y = (x − mean) / deviation over `axes`, without scale. */
function meanVarianceNormalization(c: RuleContext): Contributions {
  const x = c.input(0);
  const rank = x.dims.length;
  const axes = (intsAttribute(c.node, 'axes') ?? [0, 2, 3]).map((axis) => normalizedAxis(axis, rank));
  const { hat, inverseDeviation } = normalize(c.e, x, axes, 0, c.output());
  return [times(plain(centredGradient(c.e, c.gradient(), hat, axes)), inverseDeviation)];
}

/** Inference: y = (x − mean) · scale / √(var + ε) + bias with stored mean and var [C]. */
function batchNormalization(c: RuleContext): Contributions {
  const { e } = c;
  const [x, scale, mean, variance] = [c.input(0), c.input(1), c.input(3), c.input(4)];
  const wide = (value: Value) => e.reshape(value, [value.dims[0] ?? 1, ...from(2, x.dims.length).map(() => 1)]);
  const epsilon = e.uniform(floatAttribute(c.node, 'epsilon', 1e-5), variance.type);
  const inverse = e.unary('Reciprocal', e.unary('Sqrt', e.add(variance, epsilon)));
  const others = x.dims.map((_, axis) => axis).filter((axis) => axis !== 1);
  const g = c.gradient();
  const channelSum = (value: Value) => e.reshape(e.reduceSum(value, others), scale.dims);
  return [
    c.wants(0) ? times(plain(g), wide(e.mul(scale, inverse))) : undefined,
    c.wants(1) ? e.mul(channelSum(e.mul(g, e.sub(x, wide(mean)))), inverse) : undefined,
    c.wants(2) ? channelSum(g) : undefined,
  ];
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
  RMSNormalization: { inputs: 'all', vjp: rootMeanSquareNormalization },
  LpNormalization: { inputs: [0], vjp: unitNorm },
  MeanVarianceNormalization: { inputs: [0], vjp: meanVarianceNormalization },
  BatchNormalization: {
    inputs: [0, 1, 2],
    vjp: batchNormalization,
    refuses: (node) => (intAttribute(node, 'training_mode', 0) === 1 ? 'training_mode' : undefined),
  },
};
