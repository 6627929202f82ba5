import { attribute, type Graph, type Node } from '../../onnx/graph.js';
import { NodeEmitter } from '../../onnx/node-emitter.js';
import type { Shapes } from '../../onnx/shape-inference.js';
import { sortTopologically } from '../../onnx/sort-topologically.js';
import { elementCount, tensor } from '../../tensors/tensor.js';
import { dependentValues, forwardReads } from './forward-values.js';
import { RunAfter } from './run-after.js';

/**
 * Activations that wait for the backward part in 8 bits (Mesa: Pan et al. 2021, "Mesa: A Memory-saving Training Framework for
 * Transformers"): the forward part is exact; the backward part reads scale · (code − zero). Each group of a tensor has its
 * own range, widened to hold zero,
 *
 *   scale = (max − min) / 255   zero = round(−min / scale)   code = clamp(round(x / scale) + zero, 0, 255)
 *
 * found in each step instead of Mesa's running estimate, and rounded to nearest instead of at random, so that a step repeats
 * bit for bit. Comparisons (the masks of clips and activations) are made on the exact values, and their booleans wait.
 */

/** Smaller values are not worth their nodes. */
const SMALLEST = 4096;
/** A group is the trailing axes that hold at least this many elements. */
const GROUP = 64;
const LEVELS = 255;
/** Keeps the range of an all-zero group from dividing by zero. */
const SMALLEST_SCALE = 1e-30;

const COMPARISONS: ReadonlySet<string> = new Set(['Equal', 'Greater', 'GreaterOrEqual', 'Less', 'LessOrEqual']);
const SAME_ELEMENTS: ReadonlySet<string> = new Set(['Reshape', 'Flatten', 'Squeeze', 'Unsqueeze', 'Identity']);

/**
 * @param graph with its backward part, after buildBackward (and recomputeBlocks)
 * @param shapes of the graph before the backward part was appended
 * @param forward the graph's forward nodes
 * @param parameters graph inputs that are trained: what depends on them alone is no activation
 * @returns how many tensors wait in 8 bits.
 */
export function saveInEightBits(
  graph: Graph,
  shapes: Shapes,
  forward: readonly Node[],
  parameters: readonly string[],
): number {
  const saving = new Saving(graph, shapes, forward, parameters);
  saving.compareEarly();
  const count = saving.quantize();
  saving.delayForward();
  sortTopologically(graph);
  return count;
}

class Saving {
  private readonly emitter: NodeEmitter;
  private readonly activations: ReadonlySet<string>;
  private readonly producers = new Map<string, Node>();
  private readonly order = new Map<string, number>();
  private readonly readers = new Map<string, Node[]>();
  private readonly backward: readonly Node[];
  private readonly early = new Set<Node>();
  /** What has to be there before forward nodes may read a value. */
  private readonly tokens = new Map<string, string[]>();

  constructor(
    private readonly graph: Graph,
    private readonly shapes: Shapes,
    private readonly forward: readonly Node[],
    parameters: readonly string[],
  ) {
    const fed = graph.inputs.map(({ name }) => name).filter((name) => !parameters.includes(name));
    const before = new Set(forward);
    this.backward = graph.nodes.filter((node) => !before.has(node));
    this.activations = dependentValues(forward, fed);
    this.emitter = new NodeEmitter(graph, 'saved');
    forward.forEach((node, at) => {
      for (const output of node.outputs) {
        this.producers.set(output, node);
        this.order.set(output, at);
      }
      for (const input of new Set(node.inputs)) {
        const known = this.readers.get(input);
        if (known === undefined) this.readers.set(input, [node]);
        else known.push(node);
      }
    });
  }

  /** Comparisons of forward values run with the forward part. */
  compareEarly(): void {
    for (const node of this.backward) {
      if (!COMPARISONS.has(node.opType)) continue;
      const compared = node.inputs.filter((input) => this.activations.has(input));
      const exact = node.inputs.every((input) => this.activations.has(input) || this.graph.initializers.has(input));
      const [latest] = compared
        .filter((input) => this.readers.has(input) && this.producers.has(input))
        .sort((a, b) => (this.order.get(b) ?? 0) - (this.order.get(a) ?? 0));
      if (!exact || latest === undefined) continue;
      this.early.add(node);
      this.wait(latest, node.outputs[0] ?? '');
    }
  }

  /** Makes backward nodes read codes. */
  quantize(): number {
    const late = this.backward.filter((node) => !this.early.has(node));
    const stored = new Map<string, { codes: string; scale: string; zero: string; rows: number; columns: number }>();
    const restored = new Map<string, string>();
    for (const value of forwardReads(this.forward, late)) {
      const root = this.rootOf(value);
      if (!this.isWorthIt(root)) continue;
      const held = stored.get(root) ?? this.store(root);
      stored.set(root, held);
      const inputs = [held.codes, held.scale, held.zero];
      const flat = this.emitter.emit('DequantizeLinear', inputs, { axis: attribute.int(0) });
      restored.set(value, this.emitter.emit('Reshape', [flat, this.emitter.int64s(this.shapes.dimsOf(value))]));
    }
    for (const node of late) node.inputs = node.inputs.map((input) => restored.get(input) ?? input);
    return stored.size;
  }

  /** Forward nodes read a value only when its codes and masks are there: then nothing holds its numbers any longer. */
  delayForward(): void {
    const runAfter = new RunAfter(this.emitter);
    for (const [value, tokens] of this.tokens) {
      const dims = this.shapes.dimsOf(value);
      const delayed = tokens.reduce((from, token) => runAfter.after(from, dims, token), value);
      for (const node of this.readers.get(value) ?? []) {
        node.inputs = node.inputs.map((input) => (input === value ? delayed : input));
      }
    }
    this.graph.invalidate();
  }

  private wait(value: string, token: string): void {
    const known = this.tokens.get(value);
    if (known === undefined) this.tokens.set(value, [token]);
    else known.push(token);
  }

  /** The value whose elements, in the same order, `value` has. */
  private rootOf(value: string): string {
    const producer = this.producers.get(value);
    const [source] = producer?.inputs ?? [];
    if (producer === undefined || source === undefined || !SAME_ELEMENTS.has(producer.opType)) return value;
    return this.producers.has(source) ? this.rootOf(source) : value;
  }

  private isWorthIt(value: string): boolean {
    const known = this.activations.has(value) && this.readers.has(value) && this.shapes.has(value);
    return known && this.shapes.typeOf(value) === 'float32' && elementCount(this.shapes.dimsOf(value)) >= SMALLEST;
  }

  private store(value: string) {
    const { emitter } = this;
    const dims = this.shapes.dimsOf(value);
    const [rows, columns] = matrixDims(dims);
    const matrix = emitter.emit('Reshape', [value, emitter.int64s([rows, columns])]);
    const high = emitter.emit('Max', [this.reduced('ReduceMax', matrix), emitter.scalar(0)]);
    const low = emitter.emit('Min', [this.reduced('ReduceMin', matrix), emitter.scalar(0)]);
    const range = emitter.emit('Sub', [high, low]);
    const scale = emitter.emit('Max', [
      emitter.emit('Mul', [range, emitter.scalar(1 / LEVELS)]),
      emitter.scalar(SMALLEST_SCALE),
    ]);
    const position = emitter.emit('Neg', [emitter.emit('Div', [low, scale])]);
    const origin = emitter.constant(tensor('uint8', [], Uint8Array.of(0)));
    const zero = emitter.emit('QuantizeLinear', [position, emitter.scalar(1), origin]);
    const codes = emitter.emit('QuantizeLinear', [matrix, scale, zero], { axis: attribute.int(0) }, 'codes');
    this.wait(value, codes);
    return { codes, scale, zero, rows, columns };
  }

  /** A reduction of rows to [rows]. */
  private reduced(opType: string, matrix: string): string {
    const keepdims = attribute.int(0);
    if (this.graph.opset >= 18) return this.emitter.emit(opType, [matrix, this.emitter.int64s([1])], { keepdims });
    return this.emitter.emit(opType, [matrix], { keepdims, axes: attribute.ints([1]) });
  }
}

/** [groups, elements of a group]. */
function matrixDims(dims: readonly number[]): readonly [number, number] {
  let columns = 1;
  for (const dim of dims.toReversed()) {
    if (columns >= GROUP) break;
    columns *= dim;
  }
  return [elementCount(dims) / columns, columns];
}
