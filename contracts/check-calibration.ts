import type { z } from 'zod';

interface CalibrationRecipe {
  readonly calibration: { readonly strategy: string; readonly samples: number | null; readonly trajectories: number };
  readonly activations: { readonly ranges: string };
}

/** Samples are allotted by density and variety only, each from a trajectory of its own. */
export function checkCalibration(
  { calibration: { strategy, samples, trajectories }, activations }: CalibrationRecipe,
  context: z.RefinementCtx,
): void {
  const refuse = (message: string): void => context.addIssue({ code: 'custom', path: ['calibration'], message });
  if (strategy === 'uniform-steps') {
    if (samples !== null) refuse('uniform-steps reads every trajectory at every timestep: leave samples out');
    return;
  }
  if (samples !== null && samples > trajectories) {
    refuse(
      `each of the ${samples} samples is of another trajectory, and there are ${trajectories}: raise trajectories`,
    );
  }
  if (activations.ranges === 'timestep') {
    refuse(
      'density-variety may leave timesteps without samples, which tables per timestep need: use static or dynamic ranges',
    );
  }
}
