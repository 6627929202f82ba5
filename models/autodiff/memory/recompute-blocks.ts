import type { Graph, Node } from '../../onnx/graph.js';
import { NodeEmitter } from '../../onnx/node-emitter.js';
import type { Shapes } from '../../onnx/shape-inference.js';
import { sortTopologically } from '../../onnx/sort-topologically.js';
import { subgraphReads } from '../../onnx/subgraph-reads.js';
import { crossingValues, forwardBlocks } from './forward-blocks.js';
import { dependentValues, forwardReads, sizeOf } from './forward-values.js';
import { RunAfter } from './run-after.js';

/**
 * Gradient checkpointing: backward nodes read copies of the forward values that are computed again from what crosses the cuts
 * (forward-blocks.ts), not before the gradient has reached the block. The same operators on the same values: gradients are
 * bit-equal unless the runtime fuses a copy otherwise than its original.
 *
 * @param graph with its backward part, after buildBackward
 * @param shapes of the graph before the backward part was appended
 * @param forwardCount how many of the graph's nodes are forward
 * @returns in how many blocks the forward part was cut; 1 leaves the graph alone.
 */
export function recomputeBlocks(graph: Graph, shapes: Shapes, forwardCount: number): number {
  const forward = graph.nodes.slice(0, forwardCount);
  const backward = graph.nodes.slice(forwardCount);
  const moving = dependentValues(
    forward,
    graph.inputs.map(({ name }) => name),
  );
  const bytesOf = (value: string) => (moving.has(value) ? sizeOf(shapes, value) : 0);
  const { blockOf, count } = forwardBlocks(forward, forwardReads(forward, backward), bytesOf);
  if (count > 1) {
    const recomputation = new Recomputation(graph, shapes, forward, blockOf, moving);
    for (const node of backward) recomputation.redirect(node);
    sortTopologically(graph);
  }
  return count;
}

class Recomputation {
  private readonly emitter: NodeEmitter;
  private readonly runAfter: RunAfter;
  private readonly producers = new Map<string, number>();
  private readonly kept: ReadonlySet<string>;
  private readonly inputs: ReadonlySet<string>;
  private readonly last: number;
  /** Copies by value; read-again inputs by block and value. */
  private readonly copies = new Map<string, string>();
  private readonly entered = new Map<number, string>();
  private readonly delayed = new Map<string, string>();
  /** Values that the gradient has flowed into, and the latest of them. */
  private readonly reached = new Set<string>();
  private latest: string | undefined;

  constructor(
    graph: Graph,
    private readonly shapes: Shapes,
    private readonly forward: readonly Node[],
    private readonly blockOf: readonly number[],
    private readonly moving: ReadonlySet<string>,
  ) {
    this.emitter = new NodeEmitter(graph, 'again');
    this.runAfter = new RunAfter(this.emitter);
    this.kept = crossingValues(forward, blockOf);
    this.inputs = new Set(graph.inputs.map(({ name }) => name));
    this.last = blockOf.at(-1) ?? 0;
    forward.forEach((node, at) => {
      for (const output of node.outputs) if (output !== '') this.producers.set(output, at);
    });
  }

  /** Makes a backward node read copies. Call in the order of the backward nodes. */
  redirect(node: Node): void {
    const chained = node.inputs.some((input) => this.reached.has(input) || this.isOfLastBlock(input));
    const copied = node.inputs.map((input) => (this.isCopied(input) ? this.copyOf(input) : input));
    const changed = copied.some((input, index) => input !== node.inputs[index]);
    node.inputs = copied;
    if (!chained && !changed) return;
    for (const output of node.outputs) if (output !== '') this.reached.add(output);
    this.latest = node.outputs.find((output) => output !== '') ?? this.latest;
  }

  private blockOfValue(value: string): number | undefined {
    const at = this.producers.get(value);
    return at === undefined ? undefined : this.blockOf[at];
  }

  private isOfLastBlock(value: string): boolean {
    return this.blockOfValue(value) === this.last;
  }

  /** Whether backward nodes read a copy of a value instead of the value. */
  private isCopied(value: string): boolean {
    const block = this.blockOfValue(value);
    if (block === undefined || block === this.last || this.kept.has(value) || !this.moving.has(value)) return false;
    const producer = this.forward[this.producers.get(value) ?? -1];
    return producer !== undefined && subgraphReads(producer).size === 0 && this.tokenOf(block) !== undefined;
  }

  /** What the first copy in a block waits for: the gradient where it enters the block. */
  private tokenOf(block: number): string | undefined {
    const known = this.entered.get(block);
    if (known !== undefined || this.latest === undefined) return known;
    this.entered.set(block, this.latest);
    return this.latest;
  }

  private copyOf(value: string): string {
    const known = this.copies.get(value);
    if (known !== undefined) return known;
    const at = this.producers.get(value) ?? -1;
    const node = this.forward[at];
    if (node === undefined) throw new Error(`${value} has no forward node`);
    const block = this.blockOf[at] ?? 0;
    const inputs = node.inputs.map((input) => {
      if (this.isCopied(input)) return this.copyOf(input);
      return this.moving.has(input) || this.inputs.has(input) ? this.delay(input, block) : input;
    });
    const outputs = this.emitter.copy(node, inputs);
    node.outputs.forEach((output, index) => {
      if (output !== '') this.copies.set(output, outputs[index] ?? '');
    });
    return this.copies.get(value) ?? value;
  }

  /** A kept value or an input, not before the gradient has entered the block. */
  private delay(value: string, block: number): string {
    const key = `${block}:${value}`;
    const known = this.delayed.get(key);
    if (known !== undefined) return known;
    const token = this.tokenOf(block);
    const delayed = token === undefined ? value : this.runAfter.after(value, this.shapes.dimsOf(value), token);
    this.delayed.set(key, delayed);
    return delayed;
  }
}
