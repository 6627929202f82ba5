import type { Graph } from '../models/onnx/graph.js';

/**
 * Which graph inputs a value's numbers come from. Shapes are no numbers: what was computed through Shape or Size does not
 * count, so a timestep that is expanded to the sample's batch depends on the timestep alone.
 */
export type DataDependencies = (value: string) => ReadonlySet<string>;

const NOTHING: ReadonlySet<string> = new Set();

/** Dependencies of every value of a topologically sorted graph. Constants, initializers and unknown names have none. */
export function dataDependencies(graph: Graph): DataDependencies {
  const known = new Map<string, ReadonlySet<string>>();
  for (const input of graph.inputs) {
    if (!graph.initializers.has(input.name)) known.set(input.name, new Set([input.name]));
  }
  for (const node of graph.nodes) {
    const found = node.opType === 'Shape' || node.opType === 'Size' ? NOTHING : union(node.inputs, known);
    if (found.size > 0) for (const output of node.outputs) known.set(output, found);
  }
  return (value) => known.get(value) ?? NOTHING;
}

function union(inputs: readonly string[], known: ReadonlyMap<string, ReadonlySet<string>>): ReadonlySet<string> {
  let result = NOTHING;
  for (const input of inputs) {
    const more = known.get(input);
    if (more === undefined) continue;
    if (result.size === 0) result = more;
    else if ([...more].some((name) => !result.has(name))) result = new Set([...result, ...more]);
  }
  return result;
}
