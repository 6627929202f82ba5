import { linspace } from './noise-schedule.js';

/**
 * Which training timesteps a sampler visits: table 2 of "Common diffusion noise schedules and sample steps are flawed"
 * (Lin et al. 2023), computed as numpy computes it in diffusers' set_timesteps, rounding halves to even.
 */
export type TimestepSpacing = 'leading' | 'trailing' | 'linspace';

export interface SpacingOptions {
  /** Added to every timestep of the leading spacing; other spacings ignore it, as diffusers does. */
  readonly stepsOffset: number;
  /** false keeps the fractions of the linspace spacing (Euler samplers). Default true. */
  readonly rounded?: boolean;
}

/**
 * Descending timesteps. One deliberate difference: for 62 of the step counts up to 1000 (61, 103, 121…) rounding makes
 * diffusers' trailing arange one entry too long, with a last timestep of −1; that entry is left out.
 * @returns `steps` numbers
 */
export function spacedTimesteps(
  spacing: TimestepSpacing,
  steps: number,
  trainTimesteps: number,
  options: SpacingOptions,
): number[] {
  switch (spacing) {
    case 'linspace': {
      const ascending = Array.from(linspace(0, trainTimesteps - 1, steps));
      const kept = options.rounded === false ? ascending.map(Math.fround) : ascending.map(roundHalfToEven);
      return kept.reverse();
    }
    case 'leading': {
      const ratio = Math.floor(trainTimesteps / steps);
      return Array.from({ length: steps }, (_, i) => (steps - 1 - i) * ratio + options.stepsOffset);
    }
    case 'trailing': {
      const ratio = trainTimesteps / steps;
      const delta = trainTimesteps - ratio - trainTimesteps;
      return Array.from({ length: steps }, (_, i) => roundHalfToEven(trainTimesteps + i * delta) - 1);
    }
  }
}

/** The nearest integer; halves go to the even neighbour (IEEE 754, numpy). */
export function roundHalfToEven(value: number): number {
  const floor = Math.floor(value);
  const fraction = value - floor;
  if (fraction < 0.5) return floor;
  if (fraction > 0.5) return floor + 1;
  return floor % 2 === 0 ? floor : floor + 1;
}
