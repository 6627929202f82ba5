import type { Graph, Node } from '../../../models/onnx/graph.js';
import type { DataDependencies } from '../../data-dependencies.js';
import { MOVES } from '../../graph-trace.js';
import type { PlannedLayer } from '../../layer-plan.js';

/** A residual connection: what happens to some values until an Add gives them back to themselves. */
export interface ResidualUnit {
  /** The Add that closes it. */
  readonly add: Node;
  /** Where both of its branches start: one value, or one per part of a concatenation behind a split shortcut. */
  readonly sources: readonly string[];
  /** Everything on the way from the sources to the Add, the Add included. */
  readonly nodes: ReadonlySet<Node>;
}

/** What cutting needs to know of a planned graph. */
export interface CutContext {
  readonly graph: Graph;
  readonly dependencies: DataDependencies;
  /** Name of the sample input. */
  readonly sample: string;
  /** Planned layers by node name. */
  readonly layers: ReadonlyMap<string, PlannedLayer>;
  /** Position of every node. */
  readonly order: ReadonlyMap<Node, number>;
}

/** Operators that a skip connection may pass: layout, and arithmetic with constants or vectors of the timestep. */
const ON_SHORTCUT: ReadonlySet<string> = new Set([...MOVES, 'Mul', 'Div']);

/**
 * The innermost residual units, by the position of their Add. An Add closes a unit when both operands come from the sample,
 * one of them is what the other was computed from (also moved around, or through shortcut convolutions), and weighted layers
 * lie in between. A unit that contains another one is none: its own layers are left over.
 */
export function residualUnits(context: CutContext): ResidualUnit[] {
  const found = context.graph.nodes.flatMap((node) => {
    const unit = node.opType === 'Add' && node.domain === '' ? unitAt(context, node) : undefined;
    return unit === undefined ? [] : [unit];
  });
  return found.filter((unit) => !found.some((other) => other !== unit && unit.nodes.has(other.add)));
}

function unitAt(context: CutContext, add: Node): ResidualUnit | undefined {
  const fromSample = add.inputs.filter((input) => context.dependencies(input).has(context.sample));
  const [left, right] = fromSample;
  if (left === undefined || right === undefined || left === right) return undefined;
  for (const [skip, branch] of [
    [left, right],
    [right, left],
  ] as const) {
    if (throughShortcut(context, branch)) continue;
    const sources = sourcesOf(context, skip, ancestorsOf(context, branch));
    if (sources === undefined) continue;
    const nodes = between(context, new Set(sources), add);
    const inBranch = [...nodes].filter((node) => context.layers.get(node.name)?.role !== 'shortcut');
    if (inBranch.some((node) => isWeighted(context, node))) return { add, sources, nodes };
  }
  return undefined;
}

export function isWeighted({ layers }: CutContext, node: Node): boolean {
  const layer = layers.get(node.name);
  return layer !== undefined && layer.weight !== null;
}

/** Whether a value leaves a shortcut convolution: two of them added up are no residual connection. */
function throughShortcut({ graph, layers }: CutContext, value: string): boolean {
  const producer = graph.producerOf(value);
  return producer !== undefined && layers.get(producer.name)?.role === 'shortcut';
}

/** The values a skip connection starts from, all of them in `ancestors`; undefined when it is no skip connection. */
function sourcesOf(context: CutContext, value: string, ancestors: ReadonlySet<string>): readonly string[] | undefined {
  const { graph, dependencies, sample, layers } = context;
  if (ancestors.has(value)) return [value];
  const producer = graph.producerOf(value);
  if (producer === undefined) return undefined;
  const isShortcut = layers.get(producer.name)?.role === 'shortcut';
  const isSum = producer.opType === 'Add';
  if (!isShortcut && !isSum && !ON_SHORTCUT.has(producer.opType)) return undefined;
  const computed = producer.inputs.filter((input) => dependencies(input).has(sample));
  if (!isSum && computed.length !== 1) return undefined;
  const behind = computed.map((input) => sourcesOf(context, input, ancestors));
  return behind.every((one) => one !== undefined) ? [...new Set(behind.flat())] : undefined;
}

/** Every value that a value is computed from, itself included, shapes left out. */
function ancestorsOf({ graph, dependencies }: CutContext, value: string): Set<string> {
  const found = new Set<string>();
  const pending = [value];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    if (found.has(next) || dependencies(next).size === 0) continue;
    found.add(next);
    pending.push(...(graph.producerOf(next)?.inputs ?? []));
  }
  return found;
}

/** The nodes on some path from `sources` to `end`. */
function between({ graph, dependencies, order }: CutContext, sources: ReadonlySet<string>, end: Node): Set<Node> {
  const behind = new Set<Node>();
  const pending = [end];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    if (behind.has(next)) continue;
    behind.add(next);
    for (const input of next.inputs) {
      const producer = sources.has(input) || dependencies(input).size === 0 ? undefined : graph.producerOf(input);
      if (producer !== undefined) pending.push(producer);
    }
  }
  const reached = new Set<string>(sources);
  const inOrder = [...behind].sort((a, b) => (order.get(a) ?? 0) - (order.get(b) ?? 0));
  const onTheWay = inOrder.filter((node) => {
    if (!node.inputs.some((input) => reached.has(input))) return false;
    for (const output of node.outputs) reached.add(output);
    return true;
  });
  return new Set(onTheWay);
}
