import { NibbleflowError, nearestName } from '../../contracts/errors.js';
import { elementCount, type Tensor } from '../tensors/tensor.js';
import type { DataTypeName, Dim, Graph, Node, ValueInfo } from './graph.js';
import { integersOf } from './shapes/constant-elements.js';
import { dimsText, LARGEST_CONSTANT, type RuleContext, ShapeRuleError, type ValueFacts } from './shapes/shape-rule.js';
import { SHAPE_RULES } from './shapes/shape-rules.js';
import { isElementType, tensorFromInitializer } from './tensor-from-initializer.js';

/** Types, dims and known constants of every value of a graph, for one binding of its inputs' dims. */
export interface Shapes {
  /** @throws Error when nothing is known about the value. */
  dimsOf(value: string): readonly number[];
  /** @throws Error when nothing is known about the value. */
  typeOf(value: string): DataTypeName;
  /** The elements of values that follow from dims and small initializers; undefined for everything else. */
  constantOf(value: string): Tensor | undefined;
  has(value: string): boolean;
}

/**
 * Concrete shape inference in one pass over the nodes, which must be in topological order.
 * @param inputs dims per graph input; inputs whose declared dims are all numbers may be left out
 * @throws NibbleflowError InvalidModel naming every operator without a rule and every node whose inputs do not fit;
 *   InvalidInput when `inputs` contradicts the declared dims.
 */
export function inferShapes(graph: Graph, inputs: Readonly<Record<string, readonly number[]>> = {}): Shapes {
  const facts = new Map<string, ValueFacts>();
  bindInputs(graph, inputs, facts);
  for (const [name, initializer] of graph.initializers) {
    const small = elementCount(initializer.dims) <= LARGEST_CONSTANT && isElementType(initializer.type);
    const constant = small ? tensorFromInitializer(initializer) : undefined;
    facts.set(name, { type: initializer.type, dims: initializer.dims, constant });
  }
  const problems: string[] = [];
  const missing = new Map<string, string[]>();
  for (const node of graph.nodes) inferNode(graph, node, facts, problems, missing);
  for (const [operator, names] of missing) {
    problems.push(
      `operator ${operator} is not supported (${names.slice(0, 3).join(', ')}${names.length > 3 ? ', …' : ''})`,
    );
  }
  if (problems.length > 0) {
    throw new NibbleflowError(
      'InvalidModel',
      `The shapes of graph "${graph.name}" cannot be inferred: ${problems.join('; ')}`,
      {
        fix: 'Export the model with standard operators and static control flow.',
      },
    );
  }
  return shapesFrom(facts);
}

function shapesFrom(facts: ReadonlyMap<string, ValueFacts>): Shapes {
  const factsOf = (value: string): ValueFacts => {
    const found = facts.get(value);
    if (found === undefined) throw new Error(`nothing is known about the value "${value}"`);
    return found;
  };
  return {
    dimsOf: (value) => factsOf(value).dims,
    typeOf: (value) => factsOf(value).type,
    constantOf: (value) => facts.get(value)?.constant,
    has: (value) => facts.has(value),
  };
}

function bindInputs(
  graph: Graph,
  inputs: Readonly<Record<string, readonly number[]>>,
  facts: Map<string, ValueFacts>,
): void {
  const names = graph.inputs.map((input) => input.name);
  for (const name of Object.keys(inputs)) {
    if (names.includes(name)) continue;
    const near = nearestName(name, names);
    const fix = near === undefined ? `Its inputs are ${names.join(', ')}.` : `Did you mean "${near}"?`;
    throw new NibbleflowError('InvalidInput', `The model has no input "${name}"`, { fix });
  }
  const symbols = new Map<string, number>();
  for (const input of graph.inputs) {
    const dims = inputs[input.name] ?? concreteDims(input.shape);
    if (dims === undefined) {
      throw new NibbleflowError(
        'InvalidInput',
        `Input "${input.name}" needs concrete dims; declared: ${declaredText(input)}`,
      );
    }
    checkDims(input, dims, symbols);
    facts.set(input.name, { type: input.type, dims: [...dims] });
  }
}

/** Declared numbers must be met, and a symbol has one size in all inputs. */
function checkDims(input: ValueInfo, dims: readonly number[], symbols: Map<string, number>): void {
  if (input.shape === null) return;
  const fits =
    input.shape.length === dims.length &&
    input.shape.every((declared, axis) => {
      const dim = dims[axis] ?? -1;
      if (typeof declared === 'number') return declared === dim;
      if (declared === null) return true;
      const known = symbols.get(declared);
      symbols.set(declared, known ?? dim);
      return known === undefined || known === dim;
    });
  if (fits) return;
  const bound = [...symbols].map(([symbol, size]) => `${symbol} = ${size}`).join(', ');
  throw new NibbleflowError(
    'InvalidInput',
    `Input "${input.name}" cannot have dims ${dimsText(dims)}; declared: ${declaredText(input)}${bound === '' ? '' : `, ${bound}`}`,
  );
}

function declaredText(input: ValueInfo): string {
  return input.shape === null ? 'unknown rank' : `[${input.shape.map((dim) => dim ?? '?').join(', ')}]`;
}

function concreteDims(shape: readonly Dim[] | null): number[] | undefined {
  if (shape === null) return undefined;
  const dims = shape.filter((dim) => typeof dim === 'number');
  return dims.length === shape.length ? dims : undefined;
}

function inferNode(
  graph: Graph,
  node: Node,
  facts: Map<string, ValueFacts>,
  problems: string[],
  missing: Map<string, string[]>,
): void {
  const rule = node.domain === '' ? SHAPE_RULES.get(node.opType) : undefined;
  if (rule === undefined) {
    if (!useDeclared(graph, node, facts)) {
      const operator = node.domain === '' ? node.opType : `${node.domain}.${node.opType}`;
      missing.set(operator, [...(missing.get(operator) ?? []), node.name]);
    }
    return;
  }
  // Values behind a node that was reported already are unknown: report causes, not consequences.
  if (node.inputs.some((input) => input !== '' && !facts.has(input))) {
    const stray = node.inputs.find((input) => input !== '' && !graph.hasValue(input));
    if (stray !== undefined) problems.push(`node ${node.name} reads "${stray}", which nothing computes`);
    return;
  }
  try {
    const results = rule(contextOf(graph, node, facts));
    for (const [index, output] of node.outputs.entries()) {
      const result = results[index];
      if (output === '') continue;
      if (result === undefined) throw new ShapeRuleError(`has no output ${index}`);
      facts.set(output, result);
    }
  } catch (cause) {
    if (!(cause instanceof ShapeRuleError)) throw cause;
    if (!useDeclared(graph, node, facts)) problems.push(`${node.opType} ${node.name} ${cause.message}`);
  }
}

/** Falls back on types and dims that the file declares, when they are all numbers. */
function useDeclared(graph: Graph, node: Node, facts: Map<string, ValueFacts>): boolean {
  const found = node.outputs
    .filter((output) => output !== '')
    .map((output) => graph.valueInfos.get(output) ?? graph.outputs.find((info) => info.name === output));
  const declared = found.map((info) => ({ info, dims: concreteDims(info?.shape ?? null) }));
  for (const { info, dims } of declared) {
    if (info === undefined || dims === undefined) return false;
    facts.set(info.name, { type: info.type, dims });
  }
  return declared.length > 0;
}

function contextOf(graph: Graph, node: Node, facts: ReadonlyMap<string, ValueFacts>): RuleContext {
  const optional = (index: number): ValueFacts | undefined => {
    const name = node.inputs[index];
    return name === undefined || name === '' ? undefined : facts.get(name);
  };
  const input = (index: number): ValueFacts => {
    const found = optional(index);
    if (found === undefined) throw new ShapeRuleError(`needs an input ${index}`);
    return found;
  };
  const integers = (index: number): number[] => {
    const { constant } = input(index);
    if (constant === undefined) throw new ShapeRuleError(`has dims that depend on the data ("${node.inputs[index]}")`);
    return integersOf(constant);
  };
  return { node, opset: graph.opset, input, optional, integers };
}
