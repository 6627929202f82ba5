import type { Recipe } from '../contracts/recipe.js';
import type { Probe } from './probe-denoiser.js';

/** What each kind of work costs in float forward passes of the denoiser, at best and at worst. */
const COST = {
  sampling: [1, 1.3],
  /** Forward passes that keep every layer's input, and range searches over them. */
  observing: [1.5, 4],
  /** Fake quantization adds to the float pass. */
  quantized: [1.2, 3],
  /** Forward, backward and update, with fake quantization. */
  training: [3, 7],
} as const;

/** Import, plan, rounding, conversion, text and picture models, report: little, and independent of the denoiser. */
const FIXED_MINUTES = [0.3, 2] as const;
/** Runs of the denoiser that capture block inputs: one for each wave of blocks, the first ones short. */
const CAPTURES = 4;
/** Server, supervisor and worker, resident. */
const PROCESS_BYTES = 450e6;
/** Training keeps activations and optimizer state beside the session. */
const TRAINING_MEMORY_FACTOR = [1.5, 4] as const;

export interface RunEstimate {
  readonly minutes: readonly [least: number, most: number];
  /** null when the probe could not see the engine's memory. */
  readonly memoryBytes: readonly [least: number, most: number] | null;
}

/** Time and memory of a whole run on this machine, as ranges: rows of each stage times the probe's seconds per row. */
export function estimateRun(recipe: Recipe, probe: Probe, finetunes: boolean, scannedRows = 0): RunEstimate {
  const branches = recipe.sampling.guidance > 1 ? 2 : 1;
  const { trajectories, timesteps } = recipe.calibration;
  const evaluated = recipe.evaluation.samples * recipe.sampling.steps * branches;
  const quantizedRuns = finetunes && recipe.evaluation.beforeFinetuning ? 2 : 1;
  const steps = finetunes ? recipe.finetuning.phases.reduce((sum, phase) => sum + phase.steps, 0) : 0;
  const { enabled, scales, ...blocks } = recipe.reconstruction;
  // One step of every block is together one step of the denoiser.
  const blockSteps = enabled ? blocks.steps + (scales === 'after' ? blocks.scaleSteps : 0) : 0;
  const rows: Record<keyof typeof COST, number> = {
    sampling: trajectories * recipe.sampling.steps * branches + 2 * evaluated,
    observing: trajectories * Math.min(timesteps, recipe.sampling.steps) * branches,
    quantized:
      quantizedRuns * (evaluated + recipe.evaluation.timestepPairs) +
      (enabled ? CAPTURES * blocks.samples : 0) +
      scannedRows,
    training: steps * recipe.finetuning.batchSize + blockSteps * blocks.batchSize,
  };
  const minutes = ([0, 1] as const).map((end) => {
    const kinds = Object.keys(rows) as (keyof typeof COST)[];
    const passes = kinds.reduce((sum, kind) => sum + rows[kind] * COST[kind][end], 0);
    return FIXED_MINUTES[end] + (passes * probe.secondsPerRow[end]) / 60;
  });
  return { minutes: [minutes[0] ?? 0, minutes[1] ?? 0], memoryBytes: memoryOf(probe, finetunes) };
}

function memoryOf({ engineBytes }: Probe, finetunes: boolean): RunEstimate['memoryBytes'] {
  if (engineBytes === null) return null;
  const [least, most] = finetunes ? TRAINING_MEMORY_FACTOR : [1, 2];
  return [PROCESS_BYTES + engineBytes * least, PROCESS_BYTES + engineBytes * most];
}
