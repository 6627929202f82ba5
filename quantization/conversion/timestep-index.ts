import { attribute, DATA_TYPE } from '../../models/onnx/graph.js';
import type { NodeEmitter } from '../../models/onnx/node-emitter.js';
import { float32, int64 } from '../../models/tensors/tensor.js';
import type { ActivationQuantizer } from '../activation-quantizers.js';

/**
 * Picks table rows inside the graph: index = argmin over calibrated timesteps of |t − timestep|, ties to the smaller index,
 * as `nearestTimestep` does. The keys are timesteps, never step indices, so any number of sampler steps works.
 */
export class TimestepIndex {
  private index: string | undefined;
  private entries: string | undefined;
  private readonly expanded = new Map<string, string>();

  /** @param timestep the graph's timestep input, [1] or [batch]. */
  constructor(
    private readonly emitter: NodeEmitter,
    private readonly timestep: string,
    private readonly timesteps: readonly number[],
  ) {}

  /**
   * Row numbers for `value`, one per entry of its axis 0. The axis counts samples (or heads of samples, sample-major): every
   * timestep entry is repeated axis-0 / entries times, so a single timestep serves the whole batch.
   * @param rows key under which equal expansions are shared: values with the same number of rows per timestep entry.
   */
  rowsOf(value: string, rows: string): string {
    const known = this.expanded.get(rows);
    if (known !== undefined) return known;
    const emitter = this.emitter.at('timestep');
    const index = this.nearest();
    if (rows === 'timestep') return index;
    const first = emitter.int64s([0]);
    const one = emitter.int64s([1]);
    const length = emitter.emit('Slice', [emitter.emit('Shape', [value]), first, one], {}, 'rows');
    this.entries ??= emitter.emit('Shape', [index], {}, 'entries');
    const repeats = emitter.emit('Div', [length, this.entries], {}, 'repeats');
    const target = emitter.emit('Concat', [this.entries, repeats], { axis: attribute.int(0) }, 'target');
    const column = emitter.emit('Reshape', [index, emitter.int64s([-1, 1])], {}, 'column');
    const repeated = emitter.emit('Expand', [column, target], {}, 'repeated');
    const result = emitter.emit('Reshape', [repeated, emitter.int64s([-1])], {}, 'index');
    this.expanded.set(rows, result);
    return result;
  }

  private nearest(): string {
    if (this.index !== undefined) return this.index;
    const emitter = this.emitter.at('timestep');
    const float = emitter.emit('Cast', [this.timestep], { to: attribute.int(DATA_TYPE.float32) });
    const column = emitter.emit('Reshape', [float, emitter.constant(int64([2], [-1, 1]))]);
    const table = emitter.constant(float32([1, this.timesteps.length], this.timesteps));
    const distance = emitter.emit('Abs', [emitter.emit('Sub', [column, table])]);
    this.index = emitter.emit('ArgMin', [distance], { axis: attribute.int(1), keepdims: attribute.int(0) }, 'nearest');
    return this.index;
  }
}

/** Key for `rowsOf`: values with the same number of rows per sample share one expanded index. */
export function rowsKey({ rows }: ActivationQuantizer, dims: readonly number[]): string {
  return rows === 'other' ? `rows${dims[0] ?? 1}` : rows;
}
