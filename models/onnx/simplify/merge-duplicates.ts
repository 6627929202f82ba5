import type { Attribute, Graph, Node } from '../graph.js';
import { contentKey } from './constant-pool.js';
import { fixedNames, Replacements } from './replace-value.js';

/** Operators that give other values each time. */
const NOT_DETERMINISTIC = new Set([
  'RandomNormal',
  'RandomNormalLike',
  'RandomUniform',
  'RandomUniformLike',
  'Multinomial',
  'Bernoulli',
  'Dropout',
]);

/** Nodes with the same operator, inputs and attributes become one (the first). Nodes with subgraphs are left alone. */
export function mergeDuplicates(graph: Graph): void {
  const fixed = fixedNames(graph);
  const replacements = new Replacements(graph);
  const first = new Map<string, Node>();
  for (const node of graph.nodes) {
    const key = nodeKey(node, replacements);
    if (key === undefined) continue;
    const known = first.get(key);
    if (known === undefined || node.outputs.some((output) => fixed.has(output))) {
      first.set(key, known ?? node);
      continue;
    }
    for (const [index, output] of node.outputs.entries()) {
      const same = known.outputs[index];
      if (output !== '' && same !== undefined && same !== '') replacements.add(output, same);
    }
  }
  replacements.apply();
}

function nodeKey(node: Node, replacements: Replacements): string | undefined {
  if (NOT_DETERMINISTIC.has(node.opType)) return undefined;
  const attributes: string[] = [];
  for (const [name, attribute] of node.attributes) {
    const text = attributeKey(attribute);
    if (text === undefined) return undefined;
    attributes.push(`${name}=${text}`);
  }
  const inputs = node.inputs.map((input) => replacements.of(input));
  const shape = node.outputs.map((output) => (output === '' ? '' : '*'));
  return JSON.stringify([node.domain, node.opType, inputs, attributes.sort(), shape]);
}

function attributeKey(attribute: Attribute): string | undefined {
  if (attribute.kind === 'opaque') return undefined;
  if (attribute.kind !== 'tensor') return `${attribute.kind}:${JSON.stringify(attribute.value)}`;
  return attribute.value.type === 'string' ? undefined : contentKey(attribute.value);
}
