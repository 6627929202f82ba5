import type { Matrix } from '../../models/linalg/matrix.js';
import { type Tensor, tensor } from '../../models/tensors/tensor.js';

/**
 * Second moments on calibration inputs, for corrections that need no gradient descent:
 *
 *   E = mean(e eᵀ),  e = Q(x) − x     per quantizer, [C, C] over all pixels or tokens
 *   X = mean(x xᵀ)
 *   g_o = mean over samples of Σ over positions of (∂(v·y)/∂o)²,  v ~ N(0, I)     per layer, [Co]
 *
 * x is an input of a layer in the float denoiser, y the denoiser's output, o the layer's output at one position and channel.
 * g_o is Hutchinson's estimate of diag(JᵀJ): white noise of variance σ² in channel o of the layer moves Σ(y − ỹ)² by g_o σ².
 */
export interface LayerStatistics {
  /** By quantizer id. */
  readonly errors: ReadonlyMap<string, Matrix>;
  readonly inputs: ReadonlyMap<string, Matrix>;
  /** By layer name; empty when gradients were not asked for. */
  readonly sensitivity: ReadonlyMap<string, Float64Array>;
}

/** Sums of the statistics, with what they are divided by. */
export class LayerStatisticsSum {
  private readonly sums = new Map<string, { data: Float64Array; dims: readonly number[]; count: number }>();

  /** Adds a batch's sum under a key (`error/q0`, `input/q0`, `sensitivity/<layer>`); `count` rows or samples went into it. */
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

  means(): LayerStatistics {
    const errors = new Map<string, Matrix>();
    const inputs = new Map<string, Matrix>();
    const sensitivity = new Map<string, Float64Array>();
    for (const [key, { data, dims, count }] of this.sums) {
      const mean = data.map((value) => value / Math.max(1, count));
      const at = key.indexOf('/');
      const name = key.slice(at + 1);
      const matrix = { rows: dims[0] ?? 0, cols: dims[1] ?? 1, data: mean };
      if (key.startsWith('error/')) errors.set(name, matrix);
      else if (key.startsWith('input/')) inputs.set(name, matrix);
      else sensitivity.set(name, mean);
    }
    return { errors, inputs, sensitivity };
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
