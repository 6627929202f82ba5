import { asFloat32, float32, type Tensor, tensor } from '../../models/tensors/tensor.js';
import { SPREAD_BINS, SpreadObserver, type SpreadStats } from './spread-observer.js';

/**
 * Spread observers by key and timestep, and their form as tensors. Per key `k` with S timesteps in increasing order and E
 * entries: `k.spreadTimesteps` and `k.count` float64 [S], `k.min` and `k.max` float32 [S, E]; with histograms `k.exponents`
 * int8 [S, E] and `k.bins` uint32 [S, E, bins].
 */
export class SpreadObservers {
  private readonly observers = new Map<string, Map<number, SpreadObserver>>();

  static fromTensors(tensors: ReadonlyMap<string, Tensor>): SpreadObservers {
    const result = new SpreadObservers();
    for (const name of tensors.keys()) {
      if (name.endsWith(TIMESTEPS)) readKey(result, name.slice(0, -TIMESTEPS.length), tensors);
    }
    return result;
  }

  keys(): string[] {
    return [...this.observers.keys()].sort();
  }

  /** Timesteps at which `key` was observed, increasing. */
  timestepsOf(key: string): number[] {
    return [...(this.observers.get(key)?.keys() ?? [])].sort((a, b) => a - b);
  }

  /** Throws RangeError when `key` was never observed at `timestep`. */
  statsOf(key: string, timestep: number): SpreadStats {
    const found = this.observers.get(key)?.get(timestep);
    if (found === undefined) throw new RangeError(`${key} was not observed at timestep ${timestep}`);
    return found;
  }

  /** The observer of a key at a timestep, made when there is none. */
  observerFor(key: string, timestep: number, entries: number, withHistogram: boolean): SpreadObserver {
    let byTimestep = this.observers.get(key);
    if (byTimestep === undefined) {
      byTimestep = new Map();
      this.observers.set(key, byTimestep);
    }
    let observer = byTimestep.get(timestep);
    if (observer === undefined) {
      observer = new SpreadObserver(entries, withHistogram);
      byTimestep.set(timestep, observer);
    }
    return observer;
  }

  /** Adds what was seen of one key at one timestep elsewhere. */
  add(key: string, timestep: number, stats: SpreadStats): void {
    this.observerFor(key, timestep, stats.entries, stats.histogram !== null).merge(stats);
  }

  merge(other: SpreadObservers): void {
    for (const key of other.keys()) {
      for (const timestep of other.timestepsOf(key)) this.add(key, timestep, other.statsOf(key, timestep));
    }
  }

  toTensors(): Map<string, Tensor> {
    const tensors = new Map<string, Tensor>();
    for (const key of this.keys()) {
      const timesteps = this.timestepsOf(key);
      const stats = timesteps.map((timestep) => this.statsOf(key, timestep));
      const entries = stats[0]?.entries ?? 0;
      const [rows, dims] = [[timesteps.length], [timesteps.length, entries]];
      const float64 = (values: readonly number[]): Tensor => tensor('float64', rows, Float64Array.from(values));
      const stacked = (of: (one: SpreadStats) => Float32Array): Tensor => {
        const all = new Float32Array(timesteps.length * entries);
        for (const [row, one] of stats.entries()) all.set(of(one), row * entries);
        return float32(dims, all);
      };
      tensors.set(`${key}${TIMESTEPS}`, float64(timesteps));
      tensors.set(`${key}.count`, float64(stats.map(({ count }) => count)));
      tensors.set(
        `${key}.min`,
        stacked(({ min }) => min),
      );
      tensors.set(
        `${key}.max`,
        stacked(({ max }) => max),
      );
      const histograms = stats.flatMap(({ histogram }) => (histogram === null ? [] : [histogram]));
      if (histograms.length === 0) continue;
      const exponents = new Int8Array(timesteps.length * entries);
      const bins = new Uint32Array(timesteps.length * entries * SPREAD_BINS);
      for (const [row, one] of histograms.entries()) {
        exponents.set(one.exponents, row * entries);
        bins.set(one.bins, row * entries * SPREAD_BINS);
      }
      tensors.set(`${key}.exponents`, tensor('int8', dims, exponents));
      tensors.set(`${key}.bins`, tensor('uint32', [...dims, SPREAD_BINS], bins));
    }
    return tensors;
  }
}

const TIMESTEPS = '.spreadTimesteps';

function readKey(into: SpreadObservers, key: string, tensors: ReadonlyMap<string, Tensor>): void {
  const part = (name: string): Tensor => {
    const found = tensors.get(`${key}${name}`);
    if (found === undefined) throw new RangeError(`activation stats lack ${key}${name}`);
    return found;
  };
  const [timesteps, counts] = [part(TIMESTEPS).data as Float64Array, part('.count').data as Float64Array];
  const [min, max] = [asFloat32(part('.min')), asFloat32(part('.max')).data];
  const entries = min.dims[1] ?? 0;
  const hasHistogram = tensors.has(`${key}.bins`);
  for (const [row, timestep] of timesteps.entries()) {
    const [from, to] = [row * entries, (row + 1) * entries];
    into.add(key, timestep, {
      entries,
      count: counts[row] ?? 0,
      min: min.data.subarray(from, to),
      max: max.subarray(from, to),
      histogram: hasHistogram
        ? {
            exponents: (part('.exponents').data as Int8Array).subarray(from, to),
            bins: (part('.bins').data as Uint32Array).subarray(from * SPREAD_BINS, to * SPREAD_BINS),
          }
        : null,
    });
  }
}
