import { NibbleflowError } from '../contracts/errors.js';
import type { Recipe } from '../contracts/recipe.js';
import { writeModel } from '../models/onnx/model-proto.js';
import { componentBytes } from '../models/pipelines/open-component.js';
import type { Denoiser, Pipeline } from '../models/pipelines/pipeline.js';
import { refuseAllotment } from './calibration/refuse-allotment.js';
import { refuseUntrainable } from './finetuning/refuse-untrainable.js';
import type { QuantizationPlan } from './layer-plan.js';
import type { DenoiserInputs } from './layer-roles.js';
import { planLayers } from './plan-layers.js';
import { refuseReconstruction } from './rounding/reconstruction/refuse-reconstruction.js';
import { refuseBranches } from './rounding/refuse-branches.js';
import { type TransformedDenoiser, transformDenoiser } from './transforms/transform-denoiser.js';

/** A denoiser, transformed, with the plan for it. */
export interface PlannedDenoiser extends TransformedDenoiser {
  readonly plan: QuantizationPlan;
}

/** Transforms the pipeline's denoiser and plans it. Same pipeline and recipe, same plan. @throws what the two throw */
export function planDenoiser(pipeline: Pipeline, recipe: Recipe): PlannedDenoiser {
  refuseFinetuning(pipeline.denoiser, recipe);
  const transformed = transformDenoiser(pipeline, recipe.transforms);
  const inputs = planningInputs(pipeline.denoiser);
  const plan = planLayers({
    ...transformed,
    recipe,
    inputs,
    floatBytes: componentBytes(pipeline.files, pipeline.denoiser),
    transformedBytes: writeModel(transformed.graph).byteLength,
  });
  refuseAllotment(transformed.graph, transformed.shapes, recipe);
  refuseUntrainable(pipeline.denoiser, { ...transformed, plan }, recipe);
  refuseBranches(pipeline.denoiser, { ...transformed, plan }, recipe);
  refuseReconstruction(pipeline.denoiser, inputs, { ...transformed, plan }, recipe);
  return { ...transformed, plan };
}

/** @throws NibbleflowError InvalidModel for a denoiser that is not told the timestep */
export function planningInputs({ inputs, modelPath }: Denoiser): DenoiserInputs {
  const { sample, timestep, conditioning } = inputs;
  if (timestep !== null) return { sample, timestep, conditioning };
  throw new NibbleflowError('InvalidModel', 'a denoiser without a timestep input is not supported', {
    where: modelPath,
  });
}

/** What finetuning cannot train yet is refused before any work. @throws NibbleflowError InvalidModel */
export function refuseFinetuning(
  denoiser: Pick<Denoiser, 'predictsVariance' | 'timestepRows' | 'modelPath'>,
  recipe: Recipe,
): void {
  if (!recipe.finetuning.enabled || recipe.finetuning.phases.length === 0) return;
  const reasons = [
    denoiser.predictsVariance ? 'it predicts a variance beside the noise' : '',
    denoiser.timestepRows === 'scalar' || denoiser.timestepRows === 'one'
      ? 'it takes one timestep for the whole batch'
      : '',
  ].filter((reason) => reason !== '');
  if (reasons.length === 0) return;
  throw new NibbleflowError('InvalidModel', `this denoiser cannot be finetuned: ${reasons.join(', and ')}`, {
    where: denoiser.modelPath,
    fix: 'Quantize it without finetuning: --set finetuning.enabled=false.',
  });
}
