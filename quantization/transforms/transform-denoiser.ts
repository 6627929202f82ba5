import type { Recipe } from '../../contracts/recipe.js';
import type { Graph } from '../../models/onnx/graph.js';
import { inferShapes, type Shapes } from '../../models/onnx/shape-inference.js';
import { distinctBindings } from '../../models/onnx/simplify/distinct-bindings.js';
import { simplifyGraph } from '../../models/onnx/simplify.js';
import { upgradeOpset } from '../../models/onnx/upgrade-opset.js';
import { readComponentGraph } from '../../models/pipelines/component-graph.js';
import { denoiserDims } from '../../models/pipelines/denoiser-dims.js';
import type { Pipeline } from '../../models/pipelines/pipeline.js';
import { foldNorms } from './norm-fold.js';
import { rotateHeads } from './rotate.js';
import { prepareSmoothing } from './smooth.js';
import { splitShortcuts } from './split-shortcut.js';

type TransformName = Recipe['transforms'][number];

/** Float-exact rewrites by name; each says in words what it did. */
const TRANSFORMS: Readonly<Record<TransformName, (graph: Graph, shapes: Shapes) => string>> = {
  'split-shortcut': (graph, shapes) => `${splitShortcuts(graph, shapes).count} shortcuts split`,
  'norm-fold': (graph, shapes) => `${foldNorms(graph, shapes)} norms folded`,
  smooth: (graph, shapes) => `${prepareSmoothing(graph, shapes)} scalings inserted`,
  rotate: (graph, shapes) => `${rotateHeads(graph, shapes)} attention heads rotated`,
};

/** Batch of the dims under which graphs are transformed and planned: rows of samples and of timesteps can be told apart. */
const PLANNING_BATCH = 2;

export interface TransformedDenoiser {
  /** Opset 21, simplified, transformed; the nodes that are left keep their names. */
  readonly graph: Graph;
  /** For batch 2 and one timestep. */
  readonly shapes: Shapes;
  /** What each transform did. */
  readonly notes: readonly string[];
}

/**
 * The denoiser's graph as everything behind `transform` sees it: raised to opset 21, simplified, then rewritten by the
 * recipe's transforms in their order. Same files and transforms, same graph.
 * @throws NibbleflowError InvalidModel when the graph cannot be understood
 */
export function transformDenoiser(pipeline: Pipeline, transforms: readonly TransformName[]): TransformedDenoiser {
  const graph = readComponentGraph(pipeline.files, pipeline.denoiser);
  upgradeOpset(graph);
  simplifyGraph(graph, distinctBindings(graph));
  const dims = denoiserDims(pipeline, graph, PLANNING_BATCH);
  const notes = transforms.map((name) => TRANSFORMS[name](graph, inferShapes(graph, dims)));
  return { graph, shapes: inferShapes(graph, dims), notes };
}
