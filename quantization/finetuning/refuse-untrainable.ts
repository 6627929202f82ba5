import { NibbleflowError } from '../../contracts/errors.js';
import type { Recipe } from '../../contracts/recipe.js';
import { unsupportedOperators } from '../../models/autodiff/build-backward.js';
import { foldConstants } from '../../models/onnx/fold-constants.js';
import type { Graph } from '../../models/onnx/graph.js';
import type { Shapes } from '../../models/onnx/shape-inference.js';
import type { Denoiser } from '../../models/pipelines/pipeline.js';
import type { PlannedLayer, QuantizationPlan } from '../layer-plan.js';
import { selectedLayers } from './selected-layers.js';

/**
 * Says before any work which operators stand between what finetuning trains (weights of the phases' layers, stored ranges of every
 * layer) and the network's output without a gradient rule: all of them, with their nodes.
 * @throws NibbleflowError InvalidModel
 */
export function refuseUntrainable(
  { output, modelPath }: Pick<Denoiser, 'output' | 'modelPath'>,
  planned: { readonly graph: Graph; readonly shapes: Shapes; readonly plan: QuantizationPlan },
  { finetuning }: Recipe,
): void {
  if (!finetuning.enabled || finetuning.phases.length === 0) return;
  const { plan } = planned;
  const selected = new Set(finetuning.phases.flatMap((phase) => [...selectedLayers(plan, phase.layers)]));
  const trained = plan.layers.filter((layer) => selected.has(layer.name) || hasStoredRanges(layer));
  const graph = planned.graph.clone();
  foldConstants(graph, planned.shapes);
  const outputs = new Set(trained.map((layer) => layer.output));
  const operators = unsupportedOperators(graph, output, [...outputs]);
  if (operators.length === 0) return;
  const what = `this denoiser cannot be finetuned: there is no gradient rule for ${operators.join(', ')}`;
  throw new NibbleflowError('InvalidModel', what, {
    where: modelPath,
    fix: 'Quantize it without finetuning (--set finetuning.enabled=false), or train only layers behind these operators.',
  });
}

function hasStoredRanges({ inputs, skipped }: PlannedLayer): boolean {
  return skipped === null && inputs.some(({ scheme }) => scheme.ranges !== 'dynamic');
}
