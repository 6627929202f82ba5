import { elementCount, tensor } from '../../tensors/tensor.js';
import { intAttribute, intsAttribute, type Node, stringAttribute } from '../graph.js';
import { isElementType, tensorFromInitializer } from '../tensor-from-initializer.js';
import { stridesOf } from './broadcast.js';
import { integersOf, selectElements } from './constant-elements.js';
import { constantFacts, likeFirst, typeAttribute } from './elementwise-rules.js';
import { moved } from './layout-rules.js';
import {
  dimAt,
  dimsText,
  LARGEST_CONSTANT,
  normalizeAxis,
  type RuleContext,
  type ShapeRule,
  ShapeRuleError,
  type ValueFacts,
} from './shape-rule.js';

/** Operators that make values from shapes, attributes and indices, and Resize. */

const shape: ShapeRule = ({ node, input }) => {
  const { dims } = input(0);
  const clamp = (axis: number) => Math.min(Math.max(axis < 0 ? axis + dims.length : axis, 0), dims.length);
  const part = dims.slice(clamp(intAttribute(node, 'start', 0)), clamp(intAttribute(node, 'end', dims.length)));
  return [constantFacts('int64', [part.length], part)];
};

const size: ShapeRule = ({ input }) => [constantFacts('int64', [], [elementCount(input(0).dims)])];

const constant: ShapeRule = ({ node }) => {
  for (const [name, attribute] of node.attributes) {
    switch (attribute.kind) {
      case 'tensor': {
        const { type, dims } = attribute.value;
        return [{ type, dims, constant: isElementType(type) ? tensorFromInitializer(attribute.value) : undefined }];
      }
      case 'int':
        return [constantFacts('int64', [], [attribute.value])];
      case 'ints':
        return [constantFacts('int64', [attribute.value.length], attribute.value)];
      case 'float':
        return [float32Facts([], [attribute.value])];
      case 'floats':
        return [float32Facts([attribute.value.length], attribute.value)];
      default:
        throw new ShapeRuleError(`has a ${name} that is no tensor of numbers`);
    }
  }
  throw new ShapeRuleError('has no value');
};

function float32Facts(dims: number[], values: readonly number[]): ValueFacts {
  return { type: 'float32', dims, constant: tensor('float32', dims, Float32Array.from(values)) };
}

const constantOfShape: ShapeRule = ({ node, integers }) => {
  const dims = integers(0);
  const value = node.attributes.get('value');
  if (value?.kind !== 'tensor') return [filled(float32Facts([1], [0]), dims)];
  const { type } = value.value;
  return [
    filled({ type, dims: [1], constant: isElementType(type) ? tensorFromInitializer(value.value) : undefined }, dims),
  ];
};

function filled(value: ValueFacts, dims: number[]): ValueFacts {
  return { type: value.type, dims, constant: moved(value.constant, dims, () => new Int32Array(elementCount(dims))) };
}

const range: ShapeRule = (context) => {
  const [start, limit, delta] = [0, 1, 2].map((index) => scalarOf(context, index)) as [number, number, number];
  const { type } = context.input(0);
  const count = Math.max(0, Math.ceil((limit - start) / delta));
  if (!Number.isFinite(count)) throw new ShapeRuleError('counts without end');
  if (type !== 'int64' || count > LARGEST_CONSTANT) return [{ type, dims: [count] }];
  return [
    constantFacts(
      'int64',
      [count],
      Array.from({ length: count }, (_, index) => start + index * delta),
    ),
  ];
};

function scalarOf(context: RuleContext, index: number): number {
  const value = context.input(index).constant;
  if (value === undefined || value.type === 'float16')
    throw new ShapeRuleError('counts between values that depend on the data');
  return Number(value.data[0] ?? 0);
}

const gather: ShapeRule = ({ node, input }) => {
  const data = input(0);
  const indices = input(1);
  const axis = normalizeAxis(intAttribute(node, 'axis', 0), data.dims.length);
  const size = dimAt(data.dims, axis);
  const dims = [...data.dims.slice(0, axis), ...indices.dims, ...data.dims.slice(axis + 1)];
  if (data.constant === undefined || indices.constant === undefined || elementCount(dims) > LARGEST_CONSTANT) {
    return [{ type: data.type, dims }];
  }
  const chosen = integersOf(indices.constant).map((index) => normalizeAxis(index, size));
  const inner = elementCount(data.dims.slice(axis + 1));
  const outer = elementCount(data.dims.slice(0, axis));
  const positions: number[] = [];
  for (let block = 0; block < outer; block += 1) {
    for (const index of chosen) {
      for (let offset = 0; offset < inner; offset += 1) positions.push((block * size + index) * inner + offset);
    }
  }
  return [{ type: data.type, dims, constant: selectElements(data.constant, dims, positions) }];
};

const gatherElements: ShapeRule = ({ node, input }) => {
  const data = input(0);
  const { dims, constant: indices } = input(1);
  const axis = normalizeAxis(intAttribute(node, 'axis', 0), data.dims.length);
  if (dims.length !== data.dims.length)
    throw new ShapeRuleError(`indices ${dimsText(dims)} do not fit ${dimsText(data.dims)}`);
  if (indices === undefined) return [{ type: data.type, dims }];
  const strides = stridesOf(data.dims);
  const own = stridesOf(dims);
  const positions = () =>
    integersOf(indices).map((index, flat) => {
      let position = normalizeAxis(index, dimAt(data.dims, axis)) * (strides[axis] ?? 1);
      for (const [other, dim] of dims.entries()) {
        if (other !== axis) position += (Math.floor(flat / (own[other] ?? 1)) % dim) * (strides[other] ?? 1);
      }
      return position;
    });
  return [{ type: data.type, dims, constant: moved(data.constant, dims, positions) }];
};

const gatherND: ShapeRule = ({ node, input }) => {
  const data = input(0);
  const indices = input(1);
  const batch = intAttribute(node, 'batch_dims', 0);
  const depth = dimAt(indices.dims, indices.dims.length - 1);
  return [{ type: data.type, dims: [...indices.dims.slice(0, -1), ...data.dims.slice(batch + depth)] }];
};

const oneHot: ShapeRule = (context) => {
  const { dims } = context.input(0);
  const [depth] = context.integers(1);
  if (depth === undefined) throw new ShapeRuleError('has no depth');
  const axis = intAttribute(context.node, 'axis', -1);
  return [{ type: context.input(2).type, dims: dims.toSpliced(axis < 0 ? axis + dims.length + 1 : axis, 0, depth) }];
};

const eyeLike: ShapeRule = ({ node, input }) => [
  { type: typeAttribute(node, 'dtype', input(0).type), dims: input(0).dims },
];

/** Random values of declared dims. */
const random: ShapeRule = ({ node }) => [
  { type: typeAttribute(node, 'dtype', 'float32'), dims: [...(intsAttribute(node, 'shape') ?? [])] },
];

/** Sizes (input 3) or scales (input 2) along `axes`; other policies than `stretch` change the sizes afterwards. */
const resize: ShapeRule = (context) => {
  const { type, dims: from } = context.input(0);
  if (stringAttribute(context.node, 'keep_aspect_ratio_policy', 'stretch') !== 'stretch') {
    throw new ShapeRuleError('keeps the aspect ratio, which is not supported');
  }
  const axes = resizedAxes(context.node, from.length);
  const dims = [...from];
  const sizes = context.optional(3) === undefined ? undefined : context.integers(3);
  const scales = sizes === undefined ? scalesOf(context) : [];
  for (const [index, axis] of axes.entries()) {
    dims[axis] = sizes?.[index] ?? Math.floor(dimAt(from, axis) * (scales[index] ?? 1));
  }
  return [{ type, dims }];
};

function resizedAxes(node: Node, rank: number): readonly number[] {
  const declared = intsAttribute(node, 'axes');
  return declared?.map((axis) => normalizeAxis(axis, rank)) ?? Array.from({ length: rank }, (_, axis) => axis);
}

function scalesOf(context: RuleContext): number[] {
  const scales = context.input(2).constant;
  if (scales?.type !== 'float32') throw new ShapeRuleError('has scales that depend on the data');
  return Array.from(scales.data as Float32Array);
}

export const INDEXING_RULES: ReadonlyMap<string, ShapeRule> = new Map<string, ShapeRule>([
  ['Shape', shape],
  ['Size', size],
  ['Constant', constant],
  ['ConstantOfShape', constantOfShape],
  ['Range', range],
  ['Gather', gather],
  ['GatherElements', gatherElements],
  ['GatherND', gatherND],
  ['ScatterND', likeFirst],
  ['ScatterElements', likeFirst],
  ['OneHot', oneHot],
  ['EyeLike', eyeLike],
  ['RandomNormalLike', likeFirst],
  ['RandomUniformLike', likeFirst],
  ['RandomNormal', random],
  ['RandomUniform', random],
  ['Resize', resize],
]);
