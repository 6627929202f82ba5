import { type Graph, initializerFromTensor, intAttribute, type Node } from '../../models/onnx/graph.js';
import { tensorFromInitializer } from '../../models/onnx/tensor-from-initializer.js';
import { asFloat32, elementCount, float32 } from '../../models/tensors/tensor.js';
import { constantValue } from '../constant-value.js';

/** A value that is γ · n + β with a constant γ and β for every channel: the end of a norm, or a scaling of its own. */
export interface ChannelAffine {
  readonly gamma: Float64Array;
  /** null where there is no β. */
  readonly beta: Float64Array | null;
  /** The constants that hold them. */
  readonly names: readonly [gamma: string, beta: string | null];
  /** Puts other numbers in their place, under names of their own. */
  set(gamma: Float64Array, beta: Float64Array | null): void;
  /** Makes the value's readers read n itself; γ must be 1 and β 0 or moved elsewhere. */
  remove(): void;
}

/** What `value`, whose channels lie on `axis` of `rank`, ends with; undefined when it ends with no constant scaling. */
export function channelAffine(graph: Graph, value: string, axis: number, rank: number): ChannelAffine | undefined {
  const last = graph.producerOf(value);
  if (last?.opType === 'LayerNormalization') return layerNormAffine(graph, last, axis, rank);
  if (last?.opType === 'Mul') return scaledAffine(graph, { value, mul: last, add: null }, axis, rank);
  if (last?.opType !== 'Add') return undefined;
  const product = last.inputs.find((input) => graph.producerOf(input)?.opType === 'Mul') ?? '';
  const mul = graph.producerOf(product);
  if (mul === undefined || graph.consumersOf(product).length !== 1) return undefined;
  return scaledAffine(graph, { value, mul, add: last }, axis, rank);
}

function layerNormAffine(graph: Graph, norm: Node, axis: number, rank: number): ChannelAffine | undefined {
  const [, scale = '', shift = ''] = norm.inputs;
  const onAxis = intAttribute(norm, 'axis', -1);
  if ((onAxis < 0 ? onAxis + rank : onAxis) !== axis || axis !== rank - 1) return undefined;
  const gamma = perChannel(graph, scale, axis, rank);
  const beta = shift === '' ? null : perChannel(graph, shift, axis, rank);
  if (gamma === undefined || beta === undefined) return undefined;
  const set: ChannelAffine['set'] = (nextGamma, nextBeta) => {
    norm.inputs = [norm.inputs[0] ?? '', constant(graph, scale, nextGamma, axis, rank)];
    if (nextBeta !== null) norm.inputs.push(constant(graph, shift === '' ? scale : shift, nextBeta, axis, rank));
    graph.invalidate();
  };
  return {
    gamma,
    beta,
    names: [scale, shift === '' ? null : shift],
    set,
    remove: () => set(new Float64Array(gamma.length).fill(1), null),
  };
}

function scaledAffine(
  graph: Graph,
  { value, mul, add }: { readonly value: string; readonly mul: Node; readonly add: Node | null },
  axis: number,
  rank: number,
): ChannelAffine | undefined {
  const scale = mul.inputs.find((input) => perChannel(graph, input, axis, rank) !== undefined);
  const source = mul.inputs.find((input) => input !== scale);
  const shift = add?.inputs.find((input) => perChannel(graph, input, axis, rank) !== undefined);
  if (scale === undefined || source === undefined || (add !== null && shift === undefined)) return undefined;
  const gamma = perChannel(graph, scale, axis, rank) as Float64Array;
  return {
    gamma,
    beta: shift === undefined ? null : (perChannel(graph, shift, axis, rank) as Float64Array),
    names: [scale, shift ?? null],
    set(nextGamma, nextBeta) {
      exchange(mul, scale, constant(graph, scale, nextGamma, axis, rank));
      if (add !== null && shift !== undefined && nextBeta !== null) {
        exchange(add, shift, constant(graph, shift, nextBeta, axis, rank));
      }
      graph.invalidate();
    },
    remove() {
      graph.replaceUses(value, source);
      graph.removeNodes(add === null ? [mul] : [mul, add]);
    },
  };
}

function exchange(node: Node, from: string, to: string): void {
  node.inputs = node.inputs.map((input) => (input === from ? to : input));
}

/** A float32 constant with one number for each channel and 1 along every other axis. */
function perChannel(graph: Graph, value: string, axis: number, rank: number): Float64Array | undefined {
  const found = constantValue(graph, value)?.constant;
  if (found === undefined || found.type !== 'float32') return undefined;
  const along = found.dims[axis - (rank - found.dims.length)];
  if (along === undefined || along !== elementCount(found.dims)) return undefined;
  return Float64Array.from(asFloat32(tensorFromInitializer(found)).data);
}

function constant(graph: Graph, like: string, values: Float64Array, axis: number, rank: number): string {
  const dims = [values.length, ...new Array<number>(rank - 1 - axis).fill(1)];
  return graph.addInitializer(initializerFromTensor(graph.uniqueName(`${like}.folded`), float32(dims, values)));
}
