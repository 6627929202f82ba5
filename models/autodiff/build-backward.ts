import { NibbleflowError } from '../../contracts/errors.js';
import type { Graph, Node } from '../onnx/graph.js';
import type { Shapes } from '../onnx/shape-inference.js';
import { tensorFromInitializer } from '../onnx/tensor-from-initializer.js';
import { elementCount } from '../tensors/tensor.js';
import { type DifferentiablePaths, differentiablePaths } from './differentiable-paths.js';
import { Expressions } from './expressions.js';
import { type Gradient, plain, sumGradients } from './gradient.js';
import { asGradient, RuleContext, wholeGradient } from './rule.js';
import { RULES } from './rules.js';

/** Opsets whose operators the rules read and write; the forms that changed in between are told apart by `graph.opset`. */
const OLDEST_OPSET = 11;
const NEWEST_OPSET = 24;

const DIFFERENTIABLE_TYPES: ReadonlySet<string> = new Set(['float32', 'float64', 'float16']);

/**
 * Appends the backward graph of `loss` (one element) to `graph` as ordinary ONNX nodes: reverse accumulation (Griewank &
 * Walther 2008, "Evaluating Derivatives", ch. 3) with the rules of rules.ts. Needs concrete shapes, opset 11–24 and folded
 * constants. Only what lies between `wrt` and the loss is differentiated. Rounding is straight-through.
 *
 * @returns the name of the gradient of each `wrt` value (`grad.<value>`, same dims and type as the value).
 * @throws NibbleflowError InvalidModel naming every operator without a rule with its nodes and their number, every `wrt` value
 *   the loss does not depend on or that is no float, or a loss that is no scalar; the graph is untouched then.
 */
export function buildBackward(
  graph: Graph,
  shapes: Shapes,
  options: { loss: string; wrt: readonly string[] },
): Map<string, string> {
  const { loss, wrt } = options;
  const constantOf = (value: string) => shapes.constantOf(value);
  const paths = differentiablePaths(graph, loss, wrt, constantOf);
  checkRequest(graph, shapes, loss, wrt, paths);
  const e = new Expressions(graph, shapes);
  const contributions = new Map<string, Gradient[]>([[loss, [plain(e.uniform(1, shapes.typeOf(loss)))]]]);
  const gradients = new Map<string, Gradient>();
  const gradientOf = (value: string): Gradient | undefined => {
    const parts = contributions.get(value);
    const known = gradients.get(value);
    if (known !== undefined || parts === undefined) return known;
    const sum = sumGradients(e, parts);
    gradients.set(value, sum);
    return sum;
  };
  for (const node of paths.nodes.toReversed()) {
    e.scope = node.name === '' ? (node.outputs[0] ?? node.opType) : node.name;
    const incoming = node.outputs.map(gradientOf);
    if (incoming.every((gradient) => gradient === undefined)) continue;
    contribute(node, e, incoming, paths.active, constantOf, contributions);
  }
  const result = finish(e, wrt, (name) => {
    e.scope = name;
    return wholeGradient(e, gradientOf(name) ?? plain(e.uniform(0, shapes.typeOf(name))), shapes.dimsOf(name)).name;
  });
  graph.insertNodes(e.nodes);
  return result;
}

/**
 * Everything between `wrt` and `loss` that has no rule, one line each with the number of nodes and the first names:
 * `Operator (2 nodes: a, b)`, or `Operator with …` where only this use is not covered. Empty when buildBackward can start.
 */
export function unsupportedOperators(graph: Graph, loss: string, wrt: readonly string[]): string[] {
  const constantOf = (value: string) => {
    const initializer = graph.initializers.get(value);
    return initializer === undefined ? undefined : tensorFromInitializer(initializer);
  };
  return [...differentiablePaths(graph, loss, wrt, constantOf).unsupported];
}

function checkRequest(
  graph: Graph,
  shapes: Shapes,
  loss: string,
  wrt: readonly string[],
  paths: DifferentiablePaths,
): void {
  const problems: string[] = [];
  if (graph.opset < OLDEST_OPSET || graph.opset > NEWEST_OPSET) {
    problems.push(`opset ${graph.opset} is not in ${OLDEST_OPSET}…${NEWEST_OPSET}`);
  }
  if (paths.unsupported.length > 0) problems.push(`no gradient rule for ${paths.unsupported.join(', ')}`);
  if (paths.unreachable.length > 0) problems.push(`${loss} does not depend on ${paths.unreachable.join(', ')}`);
  const inexact = [loss, ...wrt].filter((name) => !['float32', 'float64'].includes(shapes.typeOf(name)));
  if (inexact.length > 0) problems.push(`not float32: ${inexact.join(', ')}`);
  const odd = [...paths.active].filter((name) => shapes.has(name) && !DIFFERENTIABLE_TYPES.has(shapes.typeOf(name)));
  if (odd.length > 0) problems.push(`${odd.length} values are neither float32, float64 nor float16 (${odd[0]})`);
  if (elementCount(shapes.dimsOf(loss)) !== 1) problems.push(`the loss ${loss} is not a single number`);
  if (problems.length === 0) return;
  throw new NibbleflowError('InvalidModel', `The graph cannot be differentiated: ${problems.join('; ')}`, {
    where: graph.name,
    fix: 'Leave the layers behind these operators out of finetuning.',
  });
}

function contribute(
  node: Node,
  e: Expressions,
  incoming: readonly (Gradient | undefined)[],
  active: ReadonlySet<string>,
  constantOf: (value: string) => ReturnType<Shapes['constantOf']>,
  contributions: Map<string, Gradient[]>,
): void {
  const wanted = new Set(node.inputs.flatMap((input, index) => (active.has(input) ? [index] : [])));
  const rule = RULES.get(node.opType);
  if (rule === undefined) throw new Error(`no rule for ${node.opType}`);
  const parts = rule.vjp(new RuleContext(node, e, incoming, wanted, constantOf));
  parts.forEach((part, index) => {
    const input = node.inputs[index];
    if (part === undefined || input === undefined || !wanted.has(index)) return;
    const known = contributions.get(input);
    if (known === undefined) contributions.set(input, [asGradient(part)]);
    else known.push(asGradient(part));
  });
}

/** Computes the wanted gradients and gives each its own readable name. */
function finish(e: Expressions, wrt: readonly string[], compute: (name: string) => string): Map<string, string> {
  const computed = new Map(wrt.map((name) => [name, compute(name)]));
  const produced = new Map(e.nodes.flatMap((node) => node.outputs.map((output) => [output, node] as const)));
  const renamed = new Map<string, string>();
  const result = new Map<string, string>();
  for (const [name, value] of computed) {
    const wanted = e.fresh(`grad.${name}`);
    result.set(name, wanted);
    if (produced.has(value) && !renamed.has(value)) {
      renamed.set(value, wanted);
      continue;
    }
    e.nodes.push({
      name: wanted,
      opType: 'Identity',
      domain: '',
      inputs: [value],
      outputs: [wanted],
      attributes: new Map(),
    });
  }
  const current = (value: string) => renamed.get(value) ?? value;
  for (const node of e.nodes) {
    node.inputs = node.inputs.map(current);
    node.outputs = node.outputs.map(current);
  }
  return result;
}
