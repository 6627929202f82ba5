import type { Graph, Node } from '../../../models/onnx/graph.js';
import { dataDependencies } from '../../data-dependencies.js';
import type { PlannedLayer, QuantizationPlan } from '../../layer-plan.js';
import type { DenoiserInputs } from '../../layer-roles.js';
import { type CutContext, type ResidualUnit, residualUnits } from './residual-units.js';

/**
 * A piece of a denoiser that is reconstructed on its own (BRECQ, Li et al., ICLR 2021: blocks keep what layers do to each
 * other; Q-Diffusion, Li et al., ICCV 2023, §3.2: residual blocks, transformer blocks and attention blocks of a UNet).
 */
export interface Block {
  /** The module path that its layers share, or that of its first layer. */
  readonly name: string;
  /** transformer: attention with the feed-forward behind it; layer: a layer outside of all residual connections. */
  readonly kind: 'residual' | 'attention' | 'transformer' | 'layer';
  /** Names of its planned layers, products of activations included, in graph order. */
  readonly layers: readonly string[];
  /** Values that enter it; all of its arithmetic depends on these alone. */
  readonly inputs: readonly string[];
  /** Values that leave it. */
  readonly outputs: readonly string[];
}

/** Nodes that become one block. */
interface Group {
  readonly kind: Block['kind'];
  readonly nodes: Set<Node>;
  /** Sums behind attention that no feed-forward has gone on from. */
  readonly openSums: ReadonlySet<string>;
}

/**
 * The blocks of a planned graph in network order: a block reads outputs of earlier ones only. Every quantized layer with a
 * weight is in exactly one. Found by structure: names of modules only make the blocks' own names.
 */
export function cutBlocks(graph: Graph, plan: QuantizationPlan, inputs: DenoiserInputs): Block[] {
  const context: CutContext = {
    graph,
    dependencies: dataDependencies(graph),
    sample: inputs.sample,
    layers: new Map(plan.layers.map((layer) => [layer.node, layer])),
    order: new Map(graph.nodes.map((node, index) => [node, index])),
  };
  const groups = [...unitGroups(context)];
  addSidePaths(context, groups, inputs.timestep);
  const grouped = new Set(groups.flatMap(({ nodes }) => [...nodes]));
  for (const node of graph.nodes) {
    if (isReconstructed(context.layers.get(node.name)) && !grouped.has(node))
      groups.push({ kind: 'layer', nodes: new Set([node]), openSums: new Set() });
  }
  const position = ({ nodes }: Group): number => Math.max(...[...nodes].map((node) => context.order.get(node) ?? 0));
  return groups
    .filter(({ nodes }) => [...nodes].some((node) => isReconstructed(context.layers.get(node.name))))
    .sort((a, b) => position(a) - position(b))
    .map((group) => blockOf(context, group));
}

function isReconstructed(layer: PlannedLayer | undefined): boolean {
  return layer !== undefined && layer.weight !== null && layer.skipped === null;
}

/**
 * Residual units, some of them joined: those that share layers (two streams that attend to each other), and attention with the
 * attention and feed-forward that go on from its sum.
 */
function unitGroups(context: CutContext): Group[] {
  const groups: Group[] = [];
  for (const unit of residualUnits(context)) {
    const joined = groups.filter((group) => sharesLayers(context, unit, group) || goesOn(context, unit, group));
    for (const group of joined) groups.splice(groups.indexOf(group), 1);
    groups.push(joinedGroup(context, unit, joined));
  }
  return groups;
}

function joinedGroup(context: CutContext, unit: ResidualUnit, joined: readonly Group[]): Group {
  const attends = has(context, unit, ({ role }) => role === 'attention-matmul');
  const openSums = new Set(joined.flatMap((group) => [...group.openSums]));
  const isFeedForward = !attends && unit.sources.some((source) => openSums.has(source));
  for (const source of unit.sources) openSums.delete(source);
  if (attends) for (const output of unit.add.outputs) openSums.add(output);
  const kinds = joined.map((group) => group.kind);
  const alone = attends ? 'attention' : 'residual';
  return {
    kind: isFeedForward || kinds.includes('transformer') ? 'transformer' : alone,
    nodes: new Set([...joined.flatMap((group) => [...group.nodes]), ...unit.nodes]),
    openSums,
  };
}

function sharesLayers({ layers }: CutContext, unit: ResidualUnit, group: Group): boolean {
  return [...unit.nodes].some((node) => group.nodes.has(node) && layers.has(node.name));
}

/** Whether a unit without convolutions starts from the sum behind a group's attention. */
function goesOn(context: CutContext, unit: ResidualUnit, group: Group): boolean {
  const isNext = unit.sources.every((source) => group.openSums.has(source));
  return isNext && !has(context, unit, ({ opType }) => opType === 'Conv');
}

function has({ layers }: CutContext, unit: ResidualUnit, is: (layer: PlannedLayer) => boolean): boolean {
  return [...unit.nodes].some((node) => {
    const layer = layers.get(node.name);
    return layer !== undefined && is(layer);
  });
}

/**
 * What only one group reads and what does not come from the sample belongs to that group: projections of the timestep's
 * embedding and of the conditioning. Nodes that read the timestep itself or whole numbers (class labels) stay outside.
 */
function addSidePaths(
  { graph, dependencies, sample, order }: CutContext,
  groups: readonly Group[],
  timestep: string,
): void {
  const groupOf = new Map(groups.flatMap((group) => [...group.nodes].map((node) => [node, group] as const)));
  const published = new Set(graph.outputs.map(({ name }) => name));
  const outside = new Set([timestep, ...graph.inputs.filter(({ type }) => type !== 'float32').map(({ name }) => name)]);
  const inReverse = [...order.keys()].reverse();
  for (const node of inReverse) {
    const from = node.outputs.map(dependencies);
    if (groupOf.has(node) || from.every((one) => one.size === 0) || from.some((one) => one.has(sample))) continue;
    if (node.inputs.some((input) => outside.has(input)) || node.outputs.some((output) => published.has(output)))
      continue;
    const readers = node.outputs
      .flatMap((output) => graph.consumersOf(output))
      .filter((reader) => !isShapeQuery(reader));
    const [only, ...others] = new Set(readers.map((reader) => groupOf.get(reader)));
    if (only === undefined || others.length > 0) continue;
    only.nodes.add(node);
    groupOf.set(node, only);
  }
}

function isShapeQuery({ opType }: Node): boolean {
  return opType === 'Shape' || opType === 'Size';
}

function blockOf({ graph, dependencies, layers, order }: CutContext, { kind, nodes }: Group): Block {
  const inOrder = [...nodes].sort((a, b) => (order.get(a) ?? 0) - (order.get(b) ?? 0));
  const made = new Set(inOrder.flatMap((node) => node.outputs));
  const published = new Set(graph.outputs.map(({ name }) => name));
  const isReadOutside = (value: string): boolean =>
    published.has(value) || graph.consumersOf(value).some((reader) => !nodes.has(reader) && !isShapeQuery(reader));
  const entering = inOrder
    .filter((node) => !isShapeQuery(node))
    .flatMap((node) => node.inputs)
    .filter((value) => dependencies(value).size > 0 && !made.has(value));
  const members = inOrder.flatMap((node) => layers.get(node.name)?.name ?? []);
  return {
    name: sharedPath(members),
    kind,
    layers: members,
    inputs: [...new Set(entering)],
    outputs: [...made].filter((value) => dependencies(value).size > 0 && isReadOutside(value)),
  };
}

/** The leading path segments that all names share; the first name when they share none. */
function sharedPath(names: readonly string[]): string {
  const [first = '', ...others] = names;
  if (others.length === 0) return first;
  const segments = first.split('.');
  const shared = segments.findIndex((segment, index) => others.some((name) => name.split('.')[index] !== segment));
  return shared <= 0 ? first : segments.slice(0, shared).join('.');
}
