import { NibbleflowError } from '../../contracts/errors.js';
import type { Graph, ValueInfo } from './graph.js';
import { removeDeadCode } from './remove-dead-code.js';
import { inferShapes, type Shapes } from './shape-inference.js';
import { ConstantPool } from './simplify/constant-pool.js';
import { fixReshapeTargets, foldCommonConstants, mergeEqualShapeValues } from './simplify/fold-shape-arithmetic.js';
import { mergeDuplicates } from './simplify/merge-duplicates.js';
import { removeNoOps } from './simplify/remove-no-ops.js';
import { fixedNames } from './simplify/replace-value.js';
import { shortenValueNames } from './simplify/shorten-value-names.js';
import { shrinkUniformOperands } from './simplify/shrink-uniform-operands.js';

/** Dims per input. */
export type Binding = Readonly<Record<string, readonly number[]>>;

export interface SimplifyOptions {
  /** Also rename inner values to short names (node names, inputs, outputs and initializers keep theirs). */
  readonly shortNames?: boolean;
}

/** The passes feed each other; real graphs are stable after three or four rounds. */
const MOST_ROUNDS = 8;

/**
 * Makes the graph smaller without changing any float result by a bit: constants become shared initializers, shape
 * arithmetic is evaluated where it does not depend on the dims, equal computations are done once, and nodes that do nothing
 * are removed. Dims that differ between the bindings stay dynamic.
 *
 * What depends on dims is found by evaluating the shape arithmetic under each binding, and under mixtures that change one
 * symbolic dim at a time; use sizes that are different from each other and from the model's channel counts.
 * @param bindings two or more bindings that differ in every dim that shall stay dynamic
 * @throws NibbleflowError InvalidInput for fewer bindings; what `inferShapes` throws.
 */
export function simplifyGraph(graph: Graph, bindings: readonly Binding[], options: SimplifyOptions = {}): void {
  if (bindings.length < 2) {
    throw new NibbleflowError(
      'InvalidInput',
      'Simplifying needs the dims of the inputs for two or more different sizes',
    );
  }
  const all = [...bindings, ...mixtures(graph, bindings)];
  const pool = new ConstantPool(graph);
  hoistConstants(graph, pool);
  for (let round = 0; round < MOST_ROUNDS; round += 1) {
    const before = fingerprint(graph);
    const shapes = all.map((binding) => inferShapes(graph, binding));
    foldCommonConstants(graph, shapes, pool);
    mergeEqualShapeValues(graph, shapes);
    fixReshapeTargets(graph, shapes, pool);
    simplifyValues(graph, all, pool);
    if (fingerprint(graph) === before) break;
  }
  if (options.shortNames === true) shortenValueNames(graph);
}

/** Passes that look at the dims of the values which the passes above made. */
function simplifyValues(graph: Graph, bindings: readonly Binding[], pool: ConstantPool): void {
  removeDeadCode(graph);
  const shapes = bindings.map((binding) => inferShapes(graph, binding));
  shrinkUniformOperands(graph, shapes, pool);
  removeNoOps(graph, shapes);
  mergeDuplicates(graph);
  removeDeadCode(graph);
}

function fingerprint(graph: Graph): string {
  return graph.nodes.map((node) => `${node.name}(${node.inputs.join()})`).join('\n');
}

/** Constant nodes → shared initializers. */
function hoistConstants(graph: Graph, pool: ConstantPool): void {
  const shapesOfConstants = graph.nodes.filter((node) => node.opType === 'Constant' && node.domain === '');
  const fixed = fixedNames(graph);
  const replaced = new Map<string, string>();
  for (const node of shapesOfConstants) {
    const value = node.attributes.get('value');
    const [output = ''] = node.outputs;
    if (value?.kind !== 'tensor' || value.value.type === 'string' || fixed.has(output)) continue;
    replaced.set(output, pool.add(value.value, output));
  }
  graph.removeNodes(shapesOfConstants.filter((node) => replaced.has(node.outputs[0] ?? '')));
  for (const node of graph.nodes) node.inputs = node.inputs.map((input) => replaced.get(input) ?? input);
  graph.invalidate();
}

/** The first binding with one symbolic dim at a time taken from the second; those that the graph refuses are left out. */
function mixtures(graph: Graph, bindings: readonly Binding[]): Binding[] {
  const [first = {}, ...others] = bindings;
  const symbols = new Set(graph.inputs.flatMap((input) => input.shape ?? []).filter((dim) => typeof dim === 'string'));
  const result: Binding[] = [];
  for (const symbol of symbols) {
    for (const other of others) {
      const mixed = Object.fromEntries(
        graph.inputs.map((input) => [input.name, mixedDims(input, symbol, first, other)]),
      );
      if (acceptedShapes(graph, mixed) !== undefined) result.push(mixed);
    }
  }
  return result;
}

function mixedDims(input: ValueInfo, symbol: string, first: Binding, other: Binding): readonly number[] {
  const dims = first[input.name] ?? [];
  return input.shape === null
    ? dims
    : input.shape.map((declared, axis) => {
        if (typeof declared === 'number') return declared;
        return (declared === symbol ? other[input.name]?.[axis] : dims[axis]) ?? 0;
      });
}

function acceptedShapes(graph: Graph, binding: Binding): Shapes | undefined {
  try {
    return inferShapes(graph, binding);
  } catch (cause) {
    if (cause instanceof NibbleflowError) return undefined;
    throw cause;
  }
}
