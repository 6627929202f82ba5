import { NibbleflowError } from '../../../contracts/errors.js';
import type { Recipe } from '../../../contracts/recipe.js';
import { unsupportedOperators } from '../../../models/autodiff/build-backward.js';
import { foldConstants } from '../../../models/onnx/fold-constants.js';
import type { Graph } from '../../../models/onnx/graph.js';
import type { Shapes } from '../../../models/onnx/shape-inference.js';
import type { Denoiser } from '../../../models/pipelines/pipeline.js';
import type { QuantizationPlan } from '../../layer-plan.js';
import type { DenoiserInputs } from '../../layer-roles.js';
import { cutBlocks } from './cut-blocks.js';

/**
 * What block reconstruction cannot train is refused before any work: everything that stands in the way, in one message.
 * @throws NibbleflowError InvalidModel
 */
export function refuseReconstruction(
  denoiser: Pick<Denoiser, 'timestepRows' | 'modelPath'>,
  inputs: DenoiserInputs,
  planned: { readonly graph: Graph; readonly shapes: Shapes; readonly plan: QuantizationPlan },
  recipe: Recipe,
): void {
  if (!recipe.reconstruction.enabled) return;
  const oneTimestep = denoiser.timestepRows === 'scalar' || denoiser.timestepRows === 'one';
  const operators = untrainable(planned, inputs);
  const reasons = [
    ...(oneTimestep ? ['it takes one timestep for the whole batch'] : []),
    ...(operators.length > 0 ? [`there is no gradient rule for ${operators.join(', ')}`] : []),
  ];
  if (reasons.length === 0) return;
  throw new NibbleflowError(
    'InvalidModel',
    `the blocks of this denoiser cannot be reconstructed: ${reasons.join('; ')}`,
    {
      where: denoiser.modelPath,
      fix: 'Round without it: --set reconstruction.enabled=false.',
    },
  );
}

/** Operators without a rule between the weights of some block and its outputs. */
function untrainable(
  planned: { readonly graph: Graph; readonly shapes: Shapes; readonly plan: QuantizationPlan },
  inputs: DenoiserInputs,
): string[] {
  const { plan } = planned;
  const blocks = cutBlocks(planned.graph, plan, inputs);
  const graph = planned.graph.clone();
  foldConstants(graph, planned.shapes);
  const weightOf = new Map(plan.layers.map(({ name, weight }) => [name, weight?.initializer]));
  const found = blocks.flatMap(({ layers, outputs }) => {
    const weights = layers.flatMap((layer) => weightOf.get(layer) ?? []);
    return outputs.flatMap((output) => unsupportedOperators(graph, output, weights));
  });
  return [...new Set(found)];
}
