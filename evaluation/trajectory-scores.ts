import type { Score } from '../contracts/score.js';
import type { Tensor } from '../models/tensors/tensor.js';
import { ErrorEnergy } from './metrics/error-energy.js';
import { sqnrDbOf } from './metrics/latent-sqnr.js';
import { relativeMseOf } from './metrics/relative-mse.js';
import { bootstrapInterval } from './statistics/bootstrap.js';

/** How far the latents of n pictures are from the float ones of the same seeds, at each of K steps. */
export interface TrajectoryDifferences {
  readonly n: number;
  /** Of the sampler's steps. */
  readonly timesteps: readonly number[];
  /** Σx² and Σ(x − x̂)² of picture i behind step k at 2·(i·K + k). */
  readonly energies: Float64Array;
}

/** The differences of shards, one after the other: `energies` float64 [pictures, K, 2] each. */
export function trajectoryDifferences(parts: readonly Tensor[], timesteps: readonly number[]): TrajectoryDifferences {
  const energies = Float64Array.from(parts.flatMap(({ data }) => Array.from(data as Float64Array)));
  return { n: energies.length / (2 * timesteps.length), timesteps, energies };
}

const LEVEL = 0.95;

/** Beside scores of a pipeline that broke. */
export const NOT_FINITE = 'the evaluated pipeline gave numbers that are not finite';

/**
 * `latent-sqnr`, 10·log10 Σx² / Σ(x − x̂)² of the final latents, and `trajectory-error`, ‖x − x̂‖ / ‖x‖ over all steps; intervals by
 * a bootstrap over pictures. Empty when no latents were kept.
 */
export function trajectoryScores(
  found: TrajectoryDifferences,
  floor: TrajectoryDifferences | null,
  options: { readonly seed: number; readonly resamples: number; readonly protocol: string },
): Score[] {
  if (found.n === 0) return [];
  const last = found.timesteps.length - 1;
  const all = found.timesteps.map((_, step) => step);
  return [
    score('latent-sqnr', 'dB', 'higher', (of, pictures) => sqnrDbOf(sumOf(of, pictures, [last]))),
    score('trajectory-error', '', 'lower', (of, pictures) => Math.sqrt(relativeMseOf(sumOf(of, pictures, all)))),
  ];

  function score(
    metric: string,
    unit: string,
    better: 'higher' | 'lower',
    statistic: (of: TrajectoryDifferences, pictures: ArrayLike<number>) => number,
  ): Score {
    const { n } = found;
    const value = statistic(found, everyPicture(n));
    const known = { metric, value, n, referenceN: n, unit, better, protocol: options.protocol };
    const rest = { extractor: null, pValue: null, notes: [], against: 'float' as const, name: `${metric}-${n}` };
    const floorValue = floor === null || floor.n === 0 ? null : statistic(floor, everyPicture(floor.n));
    const alone = { floor: floorValue, low: null, high: null, level: null, interval: null };
    if (!Number.isFinite(value)) return { ...known, ...rest, ...alone, value: null, notes: [NOT_FINITE] };
    if (n < 2) return { ...known, ...rest, ...alone };
    const { low, high } = bootstrapInterval(n, (pictures) => statistic(found, pictures), { ...options, level: LEVEL });
    return { ...known, ...rest, floor: floorValue, low, high, level: LEVEL, interval: 'bootstrap' };
  }
}

/** Latent SQNR and relative error at every timestep. */
export function byTimestep(
  found: TrajectoryDifferences,
): readonly { readonly timestep: number; readonly sqnrDb: number; readonly error: number }[] {
  return found.timesteps.map((timestep, step) => {
    const energy = sumOf(found, everyPicture(found.n), [step]);
    return { timestep, sqnrDb: sqnrDbOf(energy), error: Math.sqrt(relativeMseOf(energy)) };
  });
}

function everyPicture(n: number): Uint32Array {
  return Uint32Array.from({ length: n }, (_, i) => i);
}

function sumOf(
  { timesteps, energies }: TrajectoryDifferences,
  pictures: ArrayLike<number>,
  steps: readonly number[],
): ErrorEnergy {
  const sum = new ErrorEnergy();
  for (let i = 0; i < pictures.length; i += 1) {
    for (const step of steps) {
      const at = 2 * ((pictures[i] as number) * timesteps.length + step);
      sum.signal += energies[at] as number;
      sum.noise += energies[at + 1] as number;
    }
  }
  return sum;
}
