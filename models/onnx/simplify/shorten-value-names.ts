import type { Graph } from '../graph.js';
import { fixedNames } from './replace-value.js';

/**
 * Renames inner values to `v0`, `v1` … in graph order. Graph inputs and outputs, initializers, values that subgraphs read
 * and node names stay as they are.
 */
export function shortenValueNames(graph: Graph): void {
  const fixed = fixedNames(graph);
  const taken = new Set([...fixed, ...graph.initializers.keys(), ...graph.inputs.map((input) => input.name)]);
  const names = new Map<string, string>();
  let next = 0;
  for (const output of graph.nodes.flatMap((node) => node.outputs)) {
    if (output === '' || fixed.has(output)) continue;
    while (taken.has(`v${next}`)) next += 1;
    names.set(output, `v${next}`);
    next += 1;
  }
  const renamed = (value: string) => names.get(value) ?? value;
  for (const node of graph.nodes) {
    node.inputs = node.inputs.map(renamed);
    node.outputs = node.outputs.map(renamed);
  }
  graph.valueInfos = new Map(
    [...graph.valueInfos.values()].map((info) => {
      const name = renamed(info.name);
      return [name, name === info.name ? info : { ...info, name }];
    }),
  );
  graph.invalidate();
}
