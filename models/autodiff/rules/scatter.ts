import { attribute, intAttribute, type Node, stringAttribute } from '../../onnx/graph.js';
import type { Contributions, OperatorRule, RuleContext } from '../rule.js';

/**
 * y = data with elements replaced by (or increased by) updates at indices. To the updates flows what g has at the indices; to
 * the data flows g, with zeros where elements were replaced. Replaced indices must not repeat, as the operators demand.
 */
function scattered(
  gather: string,
  attributesOf: (node: Node) => Readonly<Record<string, ReturnType<typeof attribute.int>>>,
) {
  return (c: RuleContext): Contributions => {
    const { e, node } = c;
    const [data, indices, updates, g] = [c.input(0), c.input(1), c.input(2), c.gradient()];
    const attributes = { ...attributesOf(node) };
    const toData = () => {
      if (adds(node)) return g;
      const zeros = e.expand(e.uniform(0, g.type), updates.dims);
      return e.emit(node.opType, [g, indices, zeros], data.dims, { attributes });
    };
    return [
      c.wants(0) ? toData() : undefined,
      undefined,
      c.wants(2) ? e.emit(gather, [g, indices], updates.dims, { attributes }) : undefined,
    ];
  };
}

function adds(node: Node): boolean {
  return stringAttribute(node, 'reduction', 'none') === 'add';
}

function refusesReduction(node: Node): string | undefined {
  const reduction = stringAttribute(node, 'reduction', 'none');
  return reduction === 'none' || reduction === 'add' ? undefined : `reduction ${reduction}`;
}

export const SCATTER_RULES: Readonly<Record<string, OperatorRule>> = {
  ScatterElements: {
    inputs: [0, 2],
    vjp: scattered('GatherElements', (node) => ({ axis: attribute.int(intAttribute(node, 'axis', 0)) })),
    refuses: refusesReduction,
  },
  ScatterND: { inputs: [0, 2], vjp: scattered('GatherND', () => ({})), refuses: refusesReduction },
};
