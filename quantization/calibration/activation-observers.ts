import { asFloat32, float32, type Tensor, tensor } from '../../models/tensors/tensor.js';
import { HISTOGRAM_BINS, RangeObserver, type RangeStats } from './range-observer.js';
import { SpreadObservers } from './spread-observers.js';

/**
 * Observers of many values, one per value and timestep, and their form as tensors (for safetensors). Per value `v` with S
 * timesteps in increasing order: `v.timesteps` float64 [S], `v.min` and `v.max` float32 [S], `v.count` float64 [S],
 * `v.exponent` int32 [S], `v.bins` float64 [S, bins].
 */
export class ActivationObservers {
  private readonly observers = new Map<string, Map<number, RangeObserver>>();

  /** Observers of single channels, pixels or tokens. */
  constructor(readonly spreads: SpreadObservers = new SpreadObservers()) {}

  static fromTensors(tensors: ReadonlyMap<string, Tensor>): ActivationObservers {
    const result = new ActivationObservers(SpreadObservers.fromTensors(tensors));
    for (const name of tensors.keys()) {
      if (name.endsWith('.timesteps')) readValue(result, name.slice(0, -'.timesteps'.length), tensors);
    }
    return result;
  }

  /** Names of the observed values, sorted. */
  values(): string[] {
    return [...this.observers.keys()].sort();
  }

  /** Timesteps at which `value` was observed, increasing. */
  timestepsOf(value: string): number[] {
    return [...(this.observers.get(value)?.keys() ?? [])].sort((a, b) => a - b);
  }

  /** Throws RangeError when `value` was never observed at `timestep`. */
  statsOf(value: string, timestep: number): RangeStats {
    const found = this.observers.get(value)?.get(timestep);
    if (found === undefined) throw new RangeError(`${value} was not observed at timestep ${timestep}`);
    return found;
  }

  observe(value: string, timestep: number, data: Float32Array): void {
    this.observerFor(value, timestep).observe(data);
  }

  /** Adds everything that `other` has seen. */
  merge(other: ActivationObservers): void {
    this.spreads.merge(other.spreads);
    for (const value of other.values()) {
      for (const timestep of other.timestepsOf(value)) this.add(value, timestep, other.statsOf(value, timestep));
    }
  }

  /** Adds what was seen of one value at one timestep elsewhere. */
  add(value: string, timestep: number, stats: RangeStats): void {
    this.observerFor(value, timestep).merge(stats);
  }

  toTensors(): Map<string, Tensor> {
    const tensors = this.spreads.toTensors();
    for (const value of this.values()) {
      const timesteps = this.timestepsOf(value);
      const stats = timesteps.map((timestep) => this.statsOf(value, timestep));
      const dims = [timesteps.length];
      const bins = new Float64Array(timesteps.length * HISTOGRAM_BINS);
      for (const [row, one] of stats.entries()) bins.set(one.bins, row * HISTOGRAM_BINS);
      tensors.set(`${value}.timesteps`, tensor('float64', dims, Float64Array.from(timesteps)));
      tensors.set(
        `${value}.min`,
        float32(
          dims,
          stats.map((one) => one.min),
        ),
      );
      tensors.set(
        `${value}.max`,
        float32(
          dims,
          stats.map((one) => one.max),
        ),
      );
      tensors.set(
        `${value}.count`,
        tensor(
          'float64',
          dims,
          Float64Array.from(stats, (one) => one.count),
        ),
      );
      tensors.set(
        `${value}.exponent`,
        tensor(
          'int32',
          dims,
          Int32Array.from(stats, (one) => one.exponent),
        ),
      );
      tensors.set(`${value}.bins`, tensor('float64', [...dims, HISTOGRAM_BINS], bins));
    }
    return tensors;
  }

  private observerFor(value: string, timestep: number): RangeObserver {
    let byTimestep = this.observers.get(value);
    if (byTimestep === undefined) {
      byTimestep = new Map();
      this.observers.set(value, byTimestep);
    }
    let observer = byTimestep.get(timestep);
    if (observer === undefined) {
      observer = new RangeObserver();
      byTimestep.set(timestep, observer);
    }
    return observer;
  }
}

function readValue(into: ActivationObservers, value: string, tensors: ReadonlyMap<string, Tensor>): void {
  const part = (name: string): Tensor => {
    const found = tensors.get(`${value}.${name}`);
    if (found === undefined) throw new RangeError(`activation stats lack ${value}.${name}`);
    return found;
  };
  const numbers = (name: string): readonly number[] => Array.from(part(name).data as Float64Array | Int32Array);
  const [timesteps, counts, exponents] = [numbers('timesteps'), numbers('count'), numbers('exponent')];
  const [min, max] = [asFloat32(part('min')).data, asFloat32(part('max')).data];
  const bins = part('bins').data as Float64Array;
  for (const [row, timestep] of timesteps.entries()) {
    into.add(value, timestep, {
      min: min[row] ?? Number.NaN,
      max: max[row] ?? Number.NaN,
      count: counts[row] ?? 0,
      exponent: exponents[row] ?? 0,
      bins: bins.subarray(row * HISTOGRAM_BINS, (row + 1) * HISTOGRAM_BINS),
    });
  }
}
