import { NibbleflowError } from '../contracts/errors.js';
import type { Recipe } from '../contracts/recipe.js';
import type { Graph } from '../models/onnx/graph.js';
import { allowsPixels, hasFixedSize } from './activation-grids.js';
import { SPREAD_BINS } from './calibration/spread-observer.js';
import type { PlannedInput, PlannedLayer, QuantizationPlan } from './layer-plan.js';

/** What users of a plan should know, and whether the converted denoiser takes one size of picture only. */
export function planNotices(
  graph: Graph,
  recipe: Recipe,
  layers: readonly PlannedLayer[],
): Pick<QuantizationPlan, 'fixesSize' | 'notices'> {
  const inputs = layers.flatMap((layer) => layer.inputs);
  const byPixel = inputs.some((input) => countsPixels(input));
  const fixesSize = byPixel && !hasFixedSize(graph);
  const { ranges, granularity, grouping } = recipe.activations;
  const notices = [
    ...(granularity === 'channel' ? [CHANNEL_NOTICE[ranges === 'timestep' ? 'timestep' : 'static']] : []),
    ...(grouping.method !== 'none' && grouping.axis !== 'pixel' ? [GROUP_NOTICE] : []),
    ...(fixesSize ? [SIZE_NOTICE] : []),
    ...(grouping.method !== 'none' && grouping.axis === 'auto' && !allowsPixels({ graph, recipe })
      ? [AUTO_NOTICE]
      : []),
    ...(recipe.attention.keepFirstToken && !inputs.some(({ scheme }) => scheme.floatFirst !== undefined)
      ? [NO_TEXT_NOTICE]
      : []),
  ];
  return { ...(fixesSize ? { fixesSize } : {}), ...(notices.length === 0 ? {} : { notices }) };
}

/** Groups of pixels need to know how many there are. @throws NibbleflowError InvalidRecipe */
export function refusePixelGroups(graph: Graph, recipe: Recipe): void {
  const { grouping } = recipe.activations;
  if (grouping.method === 'none' || grouping.axis !== 'pixel' || allowsPixels({ graph, recipe })) return;
  throw new NibbleflowError('InvalidRecipe', 'groups of pixels need a denoiser for one size of picture', {
    where: 'activations.grouping.axis',
    fix: 'Set activations.grouping.fixedSize to true to convert for the calibrated size only, or group channels.',
  });
}

/** Of the histogram of one channel at one timestep. */
const ENTRY_BYTES = SPREAD_BINS * Uint32Array.BYTES_PER_ELEMENT;

/** Histograms of every channel at every timestep are held in memory together: more than this is refused. */
const LARGEST_HISTOGRAMS = 2 ** 31;

/** @throws NibbleflowError InvalidRecipe when the ranges asked for would need too much memory to observe */
export function refuseLargeHistograms(recipe: Recipe, layers: readonly PlannedLayer[]): void {
  const entries = new Map<string, number>();
  for (const { value, scheme } of layers.flatMap((layer) => layer.inputs)) {
    if (scheme.spread === undefined || scheme.range !== 'mse') continue;
    for (const { axes, entries: count } of scheme.spread.candidates) entries.set(JSON.stringify([value, axes]), count);
  }
  const total = [...entries.values()].reduce((sum, count) => sum + count, 0);
  const bytes = total * recipe.calibration.timesteps * ENTRY_BYTES;
  if (bytes <= LARGEST_HISTOGRAMS) return;
  throw new NibbleflowError(
    'InvalidRecipe',
    `histograms of ${total} channels at ${recipe.calibration.timesteps} timesteps take ${(bytes / 1e9).toFixed(1)} GB`,
    { where: 'activations.range', fix: 'Set activations.range to minmax, or calibrate fewer timesteps.' },
  );
}

function countsPixels({ scheme }: PlannedInput): boolean {
  return (scheme.spread?.candidates ?? []).some(({ kind }) => kind === 'pixel');
}

const CHANNEL_NOTICE = {
  timestep:
    'Activations have a scale per input channel and timestep. No single integer matrix product can take such scales: on integer hardware these layers are a simulation.',
  static:
    'Activations have a scale per input channel, which an integer matrix product can take only after it is folded into the weights: as converted these layers are a simulation on integer hardware.',
} as const;
const GROUP_NOTICE =
  'Activations have a scale per group of channels and timestep. No single integer matrix product can take such scales: on integer hardware these layers are a simulation.';
const SIZE_NOTICE =
  'Ranges of pixels fix the size: the converted denoiser takes pictures and texts of the calibrated size only, in any batch.';
const AUTO_NOTICE =
  'The denoiser takes pictures of any size, so only channels are grouped, not pixels; activations.grouping.fixedSize allows both.';
const NO_TEXT_NOTICE = 'attention.keepFirstToken changes nothing: there is no cross-attention that is quantized.';
