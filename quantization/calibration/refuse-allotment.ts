import { NibbleflowError } from '../../contracts/errors.js';
import type { Recipe } from '../../contracts/recipe.js';
import type { Graph } from '../../models/onnx/graph.js';
import type { Shapes } from '../../models/onnx/shape-inference.js';
import { middleAttention } from './middle-attention.js';

/** Density and variety are those of a feature that not every denoiser has. @throws NibbleflowError InvalidRecipe */
export function refuseAllotment(graph: Graph, shapes: Shapes, { calibration }: Recipe): void {
  if (calibration.strategy === 'uniform-steps' || middleAttention(graph, shapes) !== null) return;
  throw new NibbleflowError('InvalidRecipe', 'density-variety looks at self-attention, and the denoiser has none', {
    where: 'calibration.strategy',
    fix: 'Use calibration.strategy: uniform-steps.',
  });
}
