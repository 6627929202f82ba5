import type { Matrix } from '../../models/linalg/matrix.js';
import { type Tensor, tensor } from '../../models/tensors/tensor.js';

/**
 * Second moments on calibration inputs, for corrections that need no gradient descent:
 *
 *   E = mean(e eᵀ),  e = Q(x) − x     per quantizer, [C, C] over all pixels or tokens
 *   X = mean(x xᵀ)
 *   G = mean(Σ over positions of g gᵀ),  g = ∂(v·y)/∂o,  v ~ N(0, I)     per layer, [Co, Co]; mean over samples
 *   f = mean((Σ over positions of gᵀ W e)²)                               per layer, a number
 *
 * x is an input of a layer in the float denoiser, y the denoiser's output, o the layer's output at one position. Hutchinson's
 * trace: a small error d of o moves y by J d, and E[(v·J d)²] = |J d|². So f is what the quantized input of this layer alone does
 * to Σ(y − ỹ)², to first order; tr(G W E Wᵀ) is the same if errors of different positions are independent.
 */
export interface LayerStatistics {
  /** By quantizer id. */
  readonly errors: ReadonlyMap<string, Matrix>;
  readonly inputs: ReadonlyMap<string, Matrix>;
  /** G and f by layer name; empty when gradients were not asked for. */
  readonly sensitivity: ReadonlyMap<string, Matrix>;
  readonly effects: ReadonlyMap<string, number>;
}

/** Sums of the statistics, with what they are divided by. */
export class LayerStatisticsSum {
  private readonly sums = new Map<string, { data: Float64Array; dims: readonly number[]; count: number }>();

  /** Adds a batch's sum under a key (`error/q0`, `input/q0`, `sensitivity/<layer>`, `effect/<layer>`); `count` rows or samples went into it. */
  add(key: string, batch: Tensor, count: number): void {
    const values = batch.data as Float32Array | Float64Array;
    const known = this.sums.get(key);
    if (known === undefined) {
      this.sums.set(key, { data: Float64Array.from(values), dims: batch.dims, count });
      return;
    }
    for (let at = 0; at < values.length; at += 1) {
      known.data[at] = (known.data[at] as number) + (values[at] as number);
    }
    known.count += count;
  }

  /** The mean under a key; undefined when nothing was added. */
  mean(key: string): Float64Array | undefined {
    const found = this.sums.get(key);
    return found?.data.map((value) => value / Math.max(1, found.count));
  }

  means(): LayerStatistics {
    const errors = new Map<string, Matrix>();
    const inputs = new Map<string, Matrix>();
    const sensitivity = new Map<string, Matrix>();
    const effects = new Map<string, number>();
    for (const [key, { data, dims, count }] of this.sums) {
      const mean = data.map((value) => value / Math.max(1, count));
      const at = key.indexOf('/');
      const name = key.slice(at + 1);
      const matrix = { rows: dims[0] ?? 0, cols: dims[1] ?? 1, data: mean };
      if (key.startsWith('error/')) errors.set(name, matrix);
      else if (key.startsWith('input/')) inputs.set(name, matrix);
      else if (key.startsWith('sensitivity/')) sensitivity.set(name, matrix);
      else effects.set(name, mean[0] ?? 0);
    }
    return { errors, inputs, sensitivity, effects };
  }

  /** For a checkpoint: `<key>` and `<key>.count`. */
  toTensors(): Map<string, Tensor> {
    const tensors = new Map<string, Tensor>();
    for (const [key, { data, dims, count }] of this.sums) {
      tensors.set(key, tensor('float64', dims, data));
      tensors.set(`${key}.count`, tensor('float64', [1], Float64Array.of(count)));
    }
    return tensors;
  }

  static fromTensors(tensors: ReadonlyMap<string, Tensor>): LayerStatisticsSum {
    const result = new LayerStatisticsSum();
    for (const [key, value] of tensors) {
      const count = tensors.get(`${key}.count`);
      if (count !== undefined) result.add(key, value, Number(count.data[0]));
    }
    return result;
  }
}
