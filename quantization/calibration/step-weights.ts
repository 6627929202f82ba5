import type { Feeds, Runnable } from '../../models/executor.js';
import { gaussianTensor } from '../../models/tensors/random.js';
import { asFloat32, type Float32Tensor, float32, type Tensor } from '../../models/tensors/tensor.js';

/**
 * What an error of the denoiser at one sampler step does to the result: a walk is repeated with noise of a known size added
 * to one step's guided prediction, and
 *
 *   r_k = mean((x̃₀ − x₀)²) / mean(δ²),
 *
 * scaled to average 1 over the kept steps. Early steps hardly move x_t and later ones contract what they did, so the last few
 * steps decide how far a picture lands from the float model's.
 */
export interface StepWeightOptions {
  /** The float denoiser. */
  readonly denoiser: Runnable;
  /** Its output that holds the prediction, [rows, C, H, W]. */
  readonly output: string;
  /** Walks a few trajectories from fixed noise and gives their final latents; calls `run` once per sampler step. */
  readonly walk: (denoiser: Runnable) => Promise<Float32Tensor>;
  /** Indices of the kept sampler steps. */
  readonly steps: readonly number[];
  /** Guidance scale, or null when only one branch is run. */
  readonly guidance: number | null;
  readonly seed: number;
  readonly onStep?: (done: number) => Promise<void> | void;
}

/** Size of δ relative to the prediction: about that of a 4-bit model's error, small enough to stay on the same picture. */
const RELATIVE_SIZE = 0.1;

/** Streams of δ start here, so that they never meet those of start noise (picture indices) or step noise (from 2³²). */
const NOISE_STREAM = 2 ** 33;

/** One weight per kept step; their mean is 1. */
export async function measureStepWeights(options: StepWeightOptions): Promise<number[]> {
  const recorded: Record<string, Tensor>[] = [];
  const reference = await options.walk(
    wrapped(options.denoiser, async (feeds, outputs) => {
      const result = await options.denoiser.run(feeds, outputs);
      recorded.push(result);
      return result;
    }),
  );
  const ratios: number[] = [];
  for (const [done, step] of options.steps.entries()) {
    ratios.push(await ratioOf(options, recorded, reference, step));
    await options.onStep?.(done + 1);
  }
  const mean = ratios.reduce((sum, ratio) => sum + ratio, 0) / ratios.length;
  return ratios.map((ratio) => (mean > 0 ? Math.fround(ratio / mean) : 1));
}

async function ratioOf(
  options: StepWeightOptions,
  recorded: readonly Record<string, Tensor>[],
  reference: Float32Tensor,
  step: number,
): Promise<number> {
  let call = -1;
  let energy = 0;
  const perturbed = wrapped(options.denoiser, async (feeds, outputs) => {
    call += 1;
    const known = recorded[call];
    if (call > step || known === undefined) return options.denoiser.run(feeds, outputs);
    if (call < step) return known;
    const changed = perturb(asFloat32(known[options.output] as Tensor), options, step);
    energy = changed.energy;
    return { ...known, [options.output]: changed.output };
  });
  const final = await options.walk(perturbed);
  let difference = 0;
  for (let at = 0; at < final.data.length; at += 1) {
    difference += ((final.data[at] as number) - (reference.data[at] as number)) ** 2;
  }
  return energy > 0 ? difference / final.data.length / energy : 0;
}

/** Adds δ to the guided prediction by way of the prompt's branch, the second half of the rows. `energy` is mean(δ²). */
function perturb(
  output: Float32Tensor,
  { guidance, seed }: StepWeightOptions,
  step: number,
): { output: Float32Tensor; energy: number } {
  const data = output.data.slice();
  const from = guidance === null ? 0 : data.length / 2;
  let square = 0;
  for (let at = from; at < data.length; at += 1) square += (data[at] as number) ** 2;
  const size = RELATIVE_SIZE * Math.sqrt(square / (data.length - from));
  const noise = gaussianTensor(seed, NOISE_STREAM + step, [data.length - from]).data;
  let energy = 0;
  noise.forEach((unit, index) => {
    const delta = unit * size;
    energy += delta * delta;
    data[from + index] = (data[from + index] as number) + delta / (guidance ?? 1);
  });
  return { output: float32(output.dims, data), energy: energy / noise.length };
}

function wrapped(
  denoiser: Runnable,
  run: (feeds: Feeds, outputs?: readonly string[]) => Promise<Record<string, Tensor>>,
): Runnable {
  return {
    inputNames: denoiser.inputNames,
    outputNames: denoiser.outputNames,
    run,
    runKeeping: (feeds, outputs, keep) => denoiser.runKeeping(feeds, outputs, keep),
    release: async () => {},
  };
}
