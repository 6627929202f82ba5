import { NibbleflowError } from '../../contracts/errors.js';
import { int64 } from '../tensors/tensor.js';
import {
  attribute,
  type Graph,
  initializerFromTensor,
  intAttribute,
  intsAttribute,
  type Node,
  stringAttribute,
} from './graph.js';
import { subgraphOperators } from './subgraph-reads.js';

/**
 * Rewrites a graph of opset 11–20 as opset 21, in place. Only the operators whose older form differs need a rule; the source
 * is the ONNX operator changelog. Everything else means the same in both.
 *
 *   axes attribute → input         Squeeze, Unsqueeze, ReduceSum (13); the other reductions (18)
 *   split attribute → input        Split (13); num_outputs where nothing says the sizes (18)
 *   softmax over flattened axes    Softmax, LogSoftmax, Hardmax before 13: the same only on the last axis
 *   ratio attribute                Dropout before 12: without a training_mode input it passes everything, so it is dropped
 *   names of modes                 GridSample before 20; Resize before 13 had one that is gone
 *   axis attribute → input         DFT before 20
 *   scale per group → per channel  GroupNormalization before 21
 *
 * Bodies of If, Loop and Scan are not rewritten: one that needs it is refused.
 */
export const TARGET_OPSET = 21;

const REDUCTIONS = [
  'ReduceL1',
  'ReduceL2',
  'ReduceLogSum',
  'ReduceLogSumExp',
  'ReduceMax',
  'ReduceMean',
  'ReduceMin',
  'ReduceProd',
  'ReduceSumSquare',
];

interface UpgradeRule {
  /** Applies to graphs of an older opset than this. */
  readonly below: number;
  readonly apply: (graph: Graph, node: Node) => string | undefined;
}

const axesToInput = (graph: Graph, each: Node): undefined => {
  moveToInput(graph, each, 'axes', 1);
};

const RULES: ReadonlyMap<string, readonly UpgradeRule[]> = new Map<string, readonly UpgradeRule[]>([
  ['Squeeze', [{ below: 13, apply: axesToInput }]],
  ['Unsqueeze', [{ below: 13, apply: axesToInput }]],
  ['ReduceSum', [{ below: 13, apply: axesToInput }]],
  ...REDUCTIONS.map((name) => [name, [{ below: 18, apply: axesToInput }]] as const),
  [
    'Split',
    [
      { below: 13, apply: (graph, each) => void moveToInput(graph, each, 'split', 1) },
      { below: 18, apply: (_, each) => void nameOutputs(each) },
    ],
  ],
  ...['Softmax', 'LogSoftmax', 'Hardmax'].map((name) => [name, [{ below: 13, apply: lastAxisOnly }]] as const),
  ['Dropout', [{ below: 12, apply: (_, each) => void each.attributes.delete('ratio') }]],
  ['GridSample', [{ below: 20, apply: (_, each) => renameMode(each) }]],
  ['Resize', [{ below: 13, apply: (_, each) => lostTransformation(each) }]],
  ['DFT', [{ below: 20, apply: () => 'its axis became an input' }]],
  ['GroupNormalization', [{ below: 21, apply: () => 'its scale has one entry per group' }]],
  ['Upsample', [{ below: TARGET_OPSET, apply: () => 'the operator was removed' }]],
]);

/** @throws NibbleflowError InvalidModel naming every node that cannot be carried over. */
export function upgradeOpset(graph: Graph): void {
  if (graph.opset >= TARGET_OPSET) return;
  const problems: string[] = [];
  for (const each of [...graph.nodes]) {
    if (each.domain !== '' && each.domain !== 'ai.onnx') continue;
    for (const rule of rulesFor(graph, each.opType)) {
      const problem = rule.apply(graph, each);
      if (problem !== undefined) problems.push(`${each.opType} ${each.name}: ${problem}`);
    }
    const inner = [...subgraphOperators(each)].filter((operator) => rulesFor(graph, operator).length > 0);
    if (inner.length > 0) problems.push(`${each.opType} ${each.name}: its body has ${inner.join(', ')}`);
  }
  if (problems.length > 0) {
    const what = `The model's opset ${graph.opset} cannot be raised to ${TARGET_OPSET}: ${problems.join('; ')}`;
    throw new NibbleflowError('InvalidModel', what, { fix: 'Export the model again with opset 17 or later.' });
  }
  graph.opset = TARGET_OPSET;
  graph.invalidate();
}

function rulesFor(graph: Graph, operator: string): readonly UpgradeRule[] {
  return (RULES.get(operator) ?? []).filter((rule) => graph.opset < rule.below);
}

function renameMode(each: Node): undefined {
  const mode = stringAttribute(each, 'mode', 'bilinear');
  const names: Readonly<Record<string, string>> = { bilinear: 'linear', bicubic: 'cubic' };
  each.attributes.set('mode', attribute.string(names[mode] ?? mode));
}

function lostTransformation(each: Node): string | undefined {
  const mode = stringAttribute(each, 'coordinate_transformation_mode', 'half_pixel');
  return mode === 'tf_half_pixel_for_nn' ? `its coordinate_transformation_mode ${mode} was removed` : undefined;
}

function moveToInput(graph: Graph, each: Node, name: string, index: number): void {
  const values = intsAttribute(each, name);
  if (values === undefined) return;
  each.attributes.delete(name);
  const input = graph.uniqueName(`${each.name}.${name}`);
  graph.addInitializer(initializerFromTensor(input, int64([values.length], values)));
  while (each.inputs.length < index) each.inputs.push('');
  each.inputs[index] = input;
}

function nameOutputs(each: Node): void {
  if (each.inputs[1] === undefined || each.inputs[1] === '') {
    each.attributes.set('num_outputs', attribute.int(each.outputs.length));
  }
}

function lastAxisOnly(graph: Graph, each: Node): string | undefined {
  if (intAttribute(each, 'axis', 1) === -1) return undefined;
  const rank = graph.valueInfos.get(each.inputs[0] ?? '')?.shape?.length;
  if (rank !== undefined && intAttribute(each, 'axis', 1) === rank - 1) {
    each.attributes.set('axis', attribute.int(-1));
    return undefined;
  }
  return 'before opset 13 it flattens the axes behind its axis';
}
