import { NibbleflowError } from '../../contracts/errors.js';
import type { Recipe } from '../../contracts/recipe.js';
import { unsupportedOperators } from '../../models/autodiff/build-backward.js';
import type { Graph } from '../../models/onnx/graph.js';
import type { Denoiser } from '../../models/pipelines/pipeline.js';
import type { QuantizationPlan } from '../layer-plan.js';
import { branchableLayers } from './branchable-layers.js';

/**
 * Says before any work when branches cannot be weighed by what they do to the network's output, because it cannot be
 * differentiated. @throws NibbleflowError InvalidModel naming the operators
 */
export function refuseBranches(
  { output, modelPath }: Pick<Denoiser, 'output' | 'modelPath'>,
  { graph, plan }: { readonly graph: Graph; readonly plan: QuantizationPlan },
  { lowRank }: Recipe,
): void {
  if (lowRank.macsBudget === 0 || lowRank.weighting === 'layer') return;
  const outputs = branchableLayers(graph, plan).map((layer) => layer.output);
  const operators = unsupportedOperators(graph, output, [...new Set(outputs)]);
  if (operators.length === 0) return;
  throw new NibbleflowError(
    'InvalidModel',
    `the denoiser cannot be differentiated: no rule for ${operators.join(', ')}`,
    {
      where: modelPath,
      fix: 'Weigh side branches by the errors of their own layers: --set lowRank.weighting=layer.',
    },
  );
}
