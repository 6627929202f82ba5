import { NibbleflowError } from '../../contracts/errors.js';
import { type Tensor, tensor } from '../../models/tensors/tensor.js';
import type { ActivationDrift } from '../report/report-data.js';
import { histogramDistance } from './histogram-distance.js';

/**
 * Visual DNA of a network's own activations (after Ramtoula et al. 2023): a histogram of all values of a layer's output at each
 * timestep. Histograms of one network over other calls add up, so that shards can be merged; those of two networks over the same
 * calls say how far quantization moved a layer's distribution.
 */
export interface ActivationDna {
  readonly layers: readonly string[];
  readonly timesteps: readonly number[];
  /** Lower end and width of the bins of each layer; values outside belong to the first or the last bin. */
  readonly ranges: ActivationRanges;
  /** Counts [layers, timesteps, DNA_BINS], whole numbers. */
  readonly counts: Float64Array;
}

/** Bins of every layer of both networks: [layers] each, float32 as the graph computes with them. */
export interface ActivationRanges {
  readonly low: Float32Array;
  readonly binWidth: Float32Array;
}

export const DNA_BINS = 1024;

/** Room beyond the float network's values on either side, as a share of their range: quantization may go beyond them. */
const MARGIN = 0.1;

/** Bins over [low, high] of each layer and a tenth more on both sides. A layer that never changes gets bins around its value. */
export function activationRanges(low: ArrayLike<number>, high: ArrayLike<number>): ActivationRanges {
  const span = (i: number): number => {
    const range = (high[i] as number) - (low[i] as number);
    return range > 0 ? range : Math.max(Math.abs(low[i] as number), 1);
  };
  return {
    low: Float32Array.from(low, (value, i) => value - MARGIN * span(i)),
    binWidth: Float32Array.from(low, (_, i) => ((1 + 2 * MARGIN) * span(i)) / DNA_BINS),
  };
}

/** Histograms of everything that both saw. Throws InvalidInput unless layers, timesteps and bins are the same. */
export function mergeActivationDna(a: ActivationDna, b: ActivationDna): ActivationDna {
  refuseOtherBins(a, b);
  return { ...a, counts: a.counts.map((count, i) => count + (b.counts[i] as number)) };
}

/** A layer's histogram at a timestep, a view. */
export function activationHistogram({ timesteps, counts }: ActivationDna, layer: number, step: number): Float64Array {
  const start = (layer * timesteps.length + step) * DNA_BINS;
  return counts.subarray(start, start + DNA_BINS);
}

/**
 * Earth mover's distance of every layer's histograms at every timestep, float against candidate, divided by the standard
 * deviation of the float layer's values over all timesteps: 0.1 means that values moved by a tenth of the layer's spread.
 */
export function activationDrift(float: ActivationDna, candidate: ActivationDna): ActivationDrift {
  refuseOtherBins(float, candidate);
  const errors = float.layers.map((_, layer) => {
    const binWidth = float.ranges.binWidth[layer] as number;
    const spread = deviationOf(float, layer) * binWidth;
    return float.timesteps.map((_timestep, step) => {
      const distance = histogramDistance(
        activationHistogram(float, layer, step),
        activationHistogram(candidate, layer, step),
        binWidth,
      );
      return distance === 0 ? 0 : distance / spread;
    });
  });
  const note = `earth mover's distance of the layers' histograms (${DNA_BINS} bins over the float range and a tenth more on both sides), in standard deviations of the float layer`;
  return { layers: float.layers, timesteps: float.timesteps, errors, note };
}

/** In bins, of the values of all timesteps; at least the deviation within one bin, 1/√12. */
function deviationOf(dna: ActivationDna, layer: number): number {
  let [total, sum, squares] = [0, 0, 0];
  for (let step = 0; step < dna.timesteps.length; step += 1) {
    for (const [bin, count] of activationHistogram(dna, layer, step).entries()) {
      const place = bin - DNA_BINS / 2;
      total += count;
      sum += count * place;
      squares += count * place * place;
    }
  }
  const mean = sum / total;
  return Math.sqrt(Math.max(squares / total - mean * mean, 1 / 12));
}

function refuseOtherBins(a: ActivationDna, b: ActivationDna): void {
  const shape = ({ layers, timesteps, ranges }: ActivationDna): string =>
    JSON.stringify([layers, timesteps, [...ranges.low], [...ranges.binWidth]]);
  if (shape(a) === shape(b)) return;
  throw new NibbleflowError(
    'InvalidInput',
    'activation histograms of other layers, timesteps or bins do not go together',
    {
      fix: 'Collect both with the ranges of one float network.',
    },
  );
}

/** The histograms as tensors and text for a safetensors file. */
export function tensorsOfDna(dna: ActivationDna): { tensors: Map<string, Tensor>; metadata: Record<string, string> } {
  const { layers, timesteps, ranges, counts } = dna;
  return {
    tensors: new Map<string, Tensor>([
      ['counts', tensor('float64', [layers.length, timesteps.length, DNA_BINS], counts)],
      ['low', tensor('float32', [layers.length], ranges.low)],
      ['bin_width', tensor('float32', [layers.length], ranges.binWidth)],
      ['timesteps', tensor('float64', [timesteps.length], Float64Array.from(timesteps))],
    ]),
    metadata: { layers: JSON.stringify(layers) },
  };
}

/** What `tensorsOfDna` gave. Throws InvalidInput for a file that holds something else. */
export function dnaOfTensors(
  tensors: ReadonlyMap<string, Tensor>,
  metadata: Readonly<Record<string, string>>,
): ActivationDna {
  const [counts, low, binWidth, timesteps] = ['counts', 'low', 'bin_width', 'timesteps'].map((name) =>
    tensors.get(name),
  );
  const layers = JSON.parse(metadata.layers ?? '[]') as string[];
  const isWhole =
    counts?.type === 'float64' &&
    low?.type === 'float32' &&
    binWidth?.type === 'float32' &&
    timesteps?.type === 'float64' &&
    low.data.length === layers.length &&
    counts.data.length === layers.length * timesteps.data.length * DNA_BINS;
  if (!isWhole) throw new NibbleflowError('InvalidInput', 'the file holds no activation histograms');
  return {
    layers,
    timesteps: [...(timesteps.data as Float64Array)],
    ranges: { low: low.data as Float32Array, binWidth: binWidth.data as Float32Array },
    counts: counts.data as Float64Array,
  };
}
