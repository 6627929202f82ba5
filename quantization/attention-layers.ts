import type { Graph, Node } from '../models/onnx/graph.js';
import type { DataDependencies } from './data-dependencies.js';
import type { FoundLayer } from './find-layers.js';
import { layersAhead, layersBehind, MOVES } from './graph-trace.js';

/** The layers of attention, found by MatMul → … → Softmax → … → MatMul. */
export interface AttentionLayers {
  /** q·kᵀ */
  readonly scores: ReadonlySet<Node>;
  /** softmax·V */
  readonly contexts: ReadonlySet<Node>;
  /** The linear layers in front of q, k and V and the ones right behind softmax·V. */
  readonly projections: ReadonlySet<Node>;
  /** What each of `projections` computes; a joint layer computes several. */
  readonly operands: ReadonlyMap<Node, ReadonlySet<AttentionOperand>>;
  /** Operands of `contexts` that come from a softmax: never negative. */
  readonly probabilities: ReadonlySet<string>;
}

export type AttentionOperand = 'query' | 'key' | 'value' | 'output';

/** From q·kᵀ to the softmax: scaling, masks, changes of precision. */
const BETWEEN_SCORES_AND_SOFTMAX: ReadonlySet<string> = new Set([
  ...MOVES,
  'Mul',
  'Div',
  'Add',
  'Sub',
  'Where',
  'Clip',
  'Max',
]);

/** From a projection to q, k or V: heads, scaling, per-head norms, rotary positions, joined streams. */
const FROM_PROJECTION: ReadonlySet<string> = new Set([
  ...MOVES,
  'Mul',
  'Div',
  'Add',
  'Sub',
  'Neg',
  'Concat',
  'Pow',
  'ReduceMean',
  'Sqrt',
  'Reciprocal',
  'LayerNormalization',
  'SimplifiedLayerNormalization',
  'RMSNormalization',
]);

/** From softmax·V to the output projection: joining heads, scaling. */
const TO_PROJECTION: ReadonlySet<string> = new Set([...MOVES, 'Mul', 'Div']);

/** The first operand of q·kᵀ counts as the query: exporters write q·kᵀ, not k·qᵀ. */
export function findAttentionLayers(
  graph: Graph,
  layers: readonly FoundLayer[],
  dependencies: DataDependencies,
): AttentionLayers {
  const products = new Set(layers.filter((layer) => layer.kind === 'product').map((layer) => layer.node));
  const weighted = new Set(layers.filter((layer) => layer.weight !== null).map((layer) => layer.node));
  const any = (node: Node): boolean => products.has(node) || weighted.has(node);
  const softmaxBehind = layersBehind({
    graph,
    dependencies,
    isLayer: (node) => node.opType === 'Softmax',
    through: new Set(MOVES),
  });
  const productBehind = layersBehind({ graph, dependencies, isLayer: any, through: BETWEEN_SCORES_AND_SOFTMAX });
  const projectionBehind = layersBehind({ graph, dependencies, isLayer: any, through: FROM_PROJECTION });

  const scores = new Set<Node>();
  const contexts = new Set<Node>();
  const operandsOf = new Map<Node, Set<AttentionOperand>>();
  const mark = (nodes: Iterable<Node>, operand: AttentionOperand): void => {
    for (const node of nodes) {
      if (weighted.has(node)) operandsOf.set(node, (operandsOf.get(node) ?? new Set()).add(operand));
    }
  };
  const probabilities = new Set<string>();
  for (const context of products) {
    const operands = context.inputs.map((value) => ({ value, softmaxes: softmaxBehind(value).layers }));
    const softmaxes = operands.flatMap((operand) => [...operand.softmaxes]);
    if (softmaxes.length === 0) continue;
    contexts.add(context);
    for (const operand of operands) if (operand.softmaxes.size > 0) probabilities.add(operand.value);
    const found = softmaxes
      .flatMap((softmax) => [...productBehind(softmax.inputs[0] ?? '').layers])
      .filter((node) => products.has(node));
    for (const score of found) {
      scores.add(score);
      mark(projectionBehind(score.inputs[0] ?? '').layers, 'query');
      mark(projectionBehind(score.inputs[1] ?? '').layers, 'key');
    }
    for (const { value, softmaxes: behind } of operands) {
      if (behind.size === 0) mark(projectionBehind(value).layers, 'value');
    }
    mark(layersAhead(graph, context.outputs[0] ?? '', TO_PROJECTION, any), 'output');
  }
  return { scores, contexts, probabilities, projections: new Set(operandsOf.keys()), operands: operandsOf };
}
