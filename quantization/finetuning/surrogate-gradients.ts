import { buildBackward } from '../../models/autodiff/build-backward.js';
import { type Graph, type Node, node } from '../../models/onnx/graph.js';
import type { Shapes } from '../../models/onnx/shape-inference.js';

/**
 * Values that derivatives take for something else than what computes them: for the sum of the named values. One name is a
 * straight-through value, none a constant.
 */
export type Surrogates = ReadonlyMap<string, readonly string[]>;

/**
 * The backward graph in which values with a surrogate are that surrogate: gradients are taken on a view of the graph with
 * their nodes exchanged, and those nodes then read the real forward values.
 * @returns the gradient of each `wrt` value, see buildBackward, which also says what it throws.
 */
export function appendSurrogateGradients(
  graph: Graph,
  shapes: Shapes,
  { loss, wrt, surrogates }: { loss: string; wrt: readonly string[]; surrogates: Surrogates },
): Map<string, string> {
  const view = graph.clone();
  const real = new Map<string, Node>();
  view.nodes = view.nodes.map((each) => {
    const sources = surrogates.get(each.outputs[0] ?? '');
    if (sources === undefined) return each;
    real.set(each.name, each);
    return node(surrogateOperator(sources), [...sources], [...each.outputs], { name: each.name });
  });
  view.invalidate();
  const gradients = buildBackward(view, shapes, { loss, wrt });
  graph.initializers = view.initializers;
  graph.nodes = view.nodes.map((each) => real.get(each.name) ?? each);
  graph.invalidate();
  return gradients;
}

function surrogateOperator(sources: readonly string[]): string {
  if (sources.length === 0) return 'Constant';
  return sources.length === 1 ? 'Identity' : 'Sum';
}
