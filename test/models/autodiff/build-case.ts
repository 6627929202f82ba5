import { type Graph, node } from '../../../models/onnx/graph.js';
import { permutation, uniforms } from '../../../models/tensors/random.js';
import { elementCount, type Tensor } from '../../../models/tensors/tensor.js';
import { type Differences, floatTensor } from './central-differences.js';
import type { CaseValues, RuleCase } from './rule-cases/rule-case.js';
import { addConstant, graphOf } from './train-graph.js';

/** The graph of a rule case: one node `op` with differentiated inputs x0, x1… and outputs y0, y1… */
export interface BuiltCase {
  readonly graph: Graph;
  readonly feeds: Map<string, Tensor>;
  readonly wrt: readonly string[];
  readonly outputs: readonly string[];
}

/** Distance of `apart` values from each other in one input. */
const SPACING = 0.1;

/** Width and start of the range that values are drawn from. */
const RANGES = { smooth: [2, -1], small: [1, -0.5], positive: [1, 0.5], large: [1, 1.5] } as const;

function valuesFor(kind: CaseValues, stream: number, count: number): Float64Array {
  if (kind === 'apart') {
    const order = permutation(3, stream, count);
    return Float64Array.from(order, (at) => (at - Math.floor(count / 2)) * SPACING + SPACING / 2);
  }
  const [width, start] = RANGES[kind];
  return Float64Array.from(uniforms(5, stream, count), (u) => width * u + start);
}

/** Constants that an operator wants in float32 whatever the type of its data. */
const ALWAYS_FLOAT32: ReadonlySet<string> = new Set(['Resize', 'Dropout']);

export function buildCase(ruleCase: RuleCase, type: Differences['type']): BuiltCase {
  const { opType, inputs, values = 'smooth', outputs: count = 1, unread = 0 } = ruleCase;
  const feeds = new Map<string, Tensor>();
  const graph = graphOf({}, ruleCase.opset ?? 17);
  const names = inputs.map((input, index) => {
    if (input === null) return '';
    const name = `x${index}`;
    if ('type' in input) {
      addConstant(graph, name, inType(input, ALWAYS_FLOAT32.has(opType) ? 'float32' : type));
      return name;
    }
    // The inputs of a case with `apart` values are apart from each other as well.
    const shift = values === 'apart' ? (index * SPACING) / inputs.length : 0;
    const drawn = valuesFor(values, index, elementCount(input)).map((value) => value + shift);
    feeds.set(name, floatTensor(type, input, drawn));
    graph.inputs.push({ name, type, shape: input });
    return name;
  });
  const outputs = Array.from({ length: count + unread }, (_, index) => `y${index}`);
  const read = ruleCase.same === true ? [...names, ...names] : names;
  graph.insertNodes([node(opType, read, outputs, { name: 'op', attributes: { ...ruleCase.attributes } })]);
  return { graph, feeds, wrt: [...feeds.keys()], outputs: outputs.slice(0, count) };
}

function inType(constant: Tensor, type: Differences['type']): Tensor {
  return constant.type === 'float32' ? floatTensor(type, constant.dims, constant.data as Float32Array) : constant;
}
