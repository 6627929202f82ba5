import { NibbleflowError } from '../../../contracts/errors.js';
import { type Attribute, attribute, Graph, initializerFromTensor, node } from '../../../models/onnx/graph.js';
import { type Float32Tensor, int64, type Tensor } from '../../../models/tensors/tensor.js';
import {
  type BranchesLayer,
  type ConvolutionLayer,
  INCEPTION_BLOCKS,
  INCEPTION_CLASSES,
  INCEPTION_EPSILON,
  INCEPTION_FEATURES,
  INCEPTION_SIZE,
  type InceptionLayer,
  type PoolLayer,
  SPATIAL_CHANNELS,
  SPATIAL_LAYER,
} from './inception-layers.js';

/** Names of the graph's input and outputs. */
export const INCEPTION_VALUES = {
  /** float32 [n, 3, 299, 299], about −1…1. */
  input: 'images',
  /** [n, 2048]: means of the last map ("pool3"). */
  features: 'features',
  /** [n, 17, 17, 7]: see inception-layers.ts. */
  spatial: 'spatial',
  /** [n, 1008]: class scores without the bias, as the Inception score was defined (openai/improved-gan) and computed since. */
  logits: 'logits',
  /** [n, 64, 73, 73], [n, 192, 35, 35], [n, 768, 17, 17]: maps on the way, pytorch-fid's blocks 0 to 2. */
  maps: ['maxpool1', 'maxpool2', 'Mixed_6e'],
} as const;

/** Counters that training leaves behind; inference has no use for them. */
const UNUSED = /\.num_batches_tracked$/;
const OPSET = 17;
const NAMED_IN_MESSAGE = 5;

/** A value of the graph and its number of channels. */
interface Flow {
  readonly value: string;
  readonly channels: number;
}

interface Build {
  readonly graph: Graph;
  readonly weights: ReadonlyMap<string, Tensor>;
  /** Names of tensors that belong to no layer so far. */
  readonly unread: Set<string>;
  readonly missing: string[];
  readonly wrong: string[];
}

/**
 * The FID Inception network with these weights (a state dict of pytorch-fid or torch-fidelity, unchanged) as an ONNX graph that
 * reads pictures of 299×299 and gives `INCEPTION_VALUES`.
 * @param where the weights' file, for messages
 * @throws NibbleflowError InvalidInput naming tensors that are missing, have other dims, are not float32 or not finite, or
 *   belong to no layer
 */
export function buildInceptionGraph(weights: ReadonlyMap<string, Tensor>, where?: string): Graph {
  const graph = new Graph();
  graph.name = 'inception-2015';
  graph.opset = OPSET;
  const input = ['n', 3, INCEPTION_SIZE, INCEPTION_SIZE];
  graph.inputs = [{ name: INCEPTION_VALUES.input, type: 'float32', shape: input }];
  const unread = new Set([...weights.keys()].filter((name) => !UNUSED.test(name)));
  const build: Build = { graph, weights, unread, missing: [], wrong: [] };
  let flow: Flow = { value: INCEPTION_VALUES.input, channels: 3 };
  for (const { name, layers } of INCEPTION_BLOCKS) flow = sequence(build, flow, name, layers);
  addOutputs(build, flow);
  refuseOtherWeights(build, where);
  return graph;
}

function sequence(build: Build, from: Flow, block: string, layers: readonly InceptionLayer[]): Flow {
  return layers.reduce((flow, layer) => {
    const scope = layer.name === '' ? block : `${block}.${layer.name}`;
    if (layer.op === 'convolution') return emitConvolution(build, flow, scope, layer);
    if (layer.op === 'branches') return emitBranches(build, flow, block, scope, layer);
    return emitPool(build, flow, scope, layer);
  }, from);
}

function emitConvolution(build: Build, from: Flow, scope: string, layer: ConvolutionLayer): Flow {
  const { channels, kernel, stride, padding } = layer;
  const weight = parameter(build, `${scope}.conv.weight`, [channels, from.channels, ...kernel]);
  const convolved = emit(build, 'Conv', [from.value, weight], `${scope}.conv`, {
    kernel_shape: attribute.ints(kernel),
    strides: attribute.ints([stride, stride]),
    pads: attribute.ints([...padding, ...padding]),
  });
  const statistics = ['weight', 'bias', 'running_mean', 'running_var'].map((name) =>
    parameter(build, `${scope}.bn.${name}`, [channels]),
  );
  const normalized = emit(build, 'BatchNormalization', [convolved, ...statistics], `${scope}.bn`, {
    epsilon: attribute.float(INCEPTION_EPSILON),
  });
  return { value: emit(build, 'Relu', [normalized], scope), channels };
}

function emitPool(build: Build, from: Flow, scope: string, { op, stride, padding }: PoolLayer): Flow {
  const common = {
    kernel_shape: attribute.ints([3, 3]),
    strides: attribute.ints([stride, stride]),
    pads: attribute.ints([padding, padding, padding, padding]),
  };
  const value =
    op === 'maximum'
      ? emit(build, 'MaxPool', [from.value], scope, common)
      : emit(build, 'AveragePool', [from.value], scope, { ...common, count_include_pad: attribute.int(0) });
  return { value, channels: from.channels };
}

function emitBranches(build: Build, from: Flow, block: string, scope: string, { branches }: BranchesLayer): Flow {
  const flows = branches.map((layers) => sequence(build, from, block, layers));
  const channels = flows.reduce((sum, flow) => sum + flow.channels, 0);
  const parts = flows.map((flow) => flow.value);
  return { value: emit(build, 'Concat', parts, scope, { axis: attribute.int(1) }), channels };
}

function addOutputs(build: Build, last: Flow): void {
  const { graph } = build;
  const { features, spatial, logits, maps } = INCEPTION_VALUES;
  const pooled = emit(build, 'GlobalAveragePool', [last.value], 'pool3');
  emit(build, 'Flatten', [pooled], features, { axis: attribute.int(1) });
  const classes = parameter(build, 'fc.weight', [INCEPTION_CLASSES, INCEPTION_FEATURES]);
  checkedParameter(build, 'fc.bias', [INCEPTION_CLASSES]);
  emit(build, 'Gemm', [features, classes], logits, { transB: attribute.int(1) });
  const bounds = [0, SPATIAL_CHANNELS, 1].map((value, index) =>
    graph.addInitializer(initializerFromTensor(`spatial.${['start', 'end', 'axis'][index]}`, int64([1], [value]))),
  );
  const sliced = emit(build, 'Slice', [SPATIAL_LAYER, ...bounds], 'spatial.channels');
  emit(build, 'Transpose', [sliced], spatial, { perm: attribute.ints([0, 2, 3, 1]) });
  const shapes: readonly (readonly [string, readonly (string | number)[]])[] = [
    [features, ['n', INCEPTION_FEATURES]],
    [spatial, ['n', 17, 17, SPATIAL_CHANNELS]],
    [logits, ['n', INCEPTION_CLASSES]],
    [maps[0], ['n', 64, 73, 73]],
    [maps[1], ['n', 192, 35, 35]],
    [maps[2], ['n', 768, 17, 17]],
  ];
  graph.outputs = shapes.map(([name, shape]) => ({ name, type: 'float32' as const, shape }));
}

/** Appends a node whose one output has its name. */
function emit(
  { graph }: Build,
  opType: string,
  inputs: readonly string[],
  name: string,
  attributes: Record<string, Attribute> = {},
): string {
  graph.nodes.push(node(opType, [...inputs], [name], { name, attributes }));
  graph.invalidate();
  return name;
}

/** The weights' tensor of this name as an initializer. */
function parameter(build: Build, name: string, dims: readonly number[]): string {
  const found = checkedParameter(build, name, dims);
  if (found !== undefined) build.graph.addInitializer(initializerFromTensor(name, found));
  return name;
}

/** The weights' tensor of this name; what is wrong with it is collected. */
function checkedParameter(build: Build, name: string, dims: readonly number[]): Tensor | undefined {
  const found = build.weights.get(name);
  build.unread.delete(name);
  if (found === undefined) {
    build.missing.push(name);
    return undefined;
  }
  const fits = found.dims.length === dims.length && found.dims.every((dim, axis) => dim === dims[axis]);
  if (!fits) build.wrong.push(`${name} is [${found.dims.join(', ')}], not [${dims.join(', ')}]`);
  else if (found.type !== 'float32') build.wrong.push(`${name} is ${found.type}, not float32`);
  else if (!(found as Float32Tensor).data.every(Number.isFinite)) build.wrong.push(`${name} is not finite`);
  return found;
}

function refuseOtherWeights({ missing, wrong, unread }: Build, where?: string): void {
  const complaints = [
    ...listed('misses', missing),
    ...listed('differs:', wrong),
    ...listed('has what belongs to no layer:', [...unread]),
  ];
  if (complaints.length === 0) return;
  throw new NibbleflowError(
    'InvalidInput',
    `These are not the weights of the FID Inception network: it ${complaints.join('; ')}`,
    {
      where,
      fix: "torchvision's Inception is another network. FID needs pt_inception-2015-12-05-6726825d.pth.",
    },
  );
}

function listed(what: string, names: readonly string[]): string[] {
  if (names.length === 0) return [];
  const more = names.length > NAMED_IN_MESSAGE ? ` and ${names.length - NAMED_IN_MESSAGE} more` : '';
  return [`${what} ${names.slice(0, NAMED_IN_MESSAGE).join(', ')}${more}`];
}
