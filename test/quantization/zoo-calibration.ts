import type { Executor, Runnable } from '../../models/executor.js';
import { encodeConditions } from '../../models/pipelines/encode-conditions.js';
import { openComponent } from '../../models/pipelines/open-component.js';
import { drawPromptSets } from '../../models/pipelines/prompt-sets.js';
import { sampleLatents } from '../../models/pipelines/sample-latents.js';
import { startNoise } from '../../models/pipelines/start-noise.js';
import { createSampler } from '../../models/samplers/create-sampler.js';
import { concatRows, type Float32Tensor, sliceRows } from '../../models/tensors/tensor.js';
import type { CalibrationSet } from '../../quantization/calibration/calibration-set.js';
import { sampleCalibration } from '../../quantization/calibration/sample-calibration.js';
import { chooseTimesteps } from '../../quantization/calibration/timestep-plan.js';
import { projectJson } from '../models/pipelines/pipeline-folder.js';
import { pipeline } from './quantized-zoo.js';

export const GUIDANCE = 1.5;
/** Start noises are drawn from these seeds: what calibration saw is never evaluated. */
const SEEDS = { calibration: 1, evaluation: 1000 } as const;
const BATCH = 8;

/** Disjoint prompts from the bundled captions. */
export function promptSets(calibration: number, evaluation: number): { calibration: string[]; evaluation: string[] } {
  const captions = projectJson<{ prompt: string; skinTone: boolean }[]>('models/zoo/emoji-reference/prompts.json');
  const prompts = captions.filter(({ skinTone }) => !skinTone).map(({ prompt }) => prompt);
  const drawn = drawPromptSets({
    prompts,
    evaluation: null,
    evaluationCount: evaluation,
    calibrationCount: calibration,
    seed: 7,
  });
  return { calibration: [...drawn.calibration], evaluation: [...drawn.evaluation] };
}

/** Float trajectories of `prompts`, `timesteps` of `steps` steps kept. */
export async function zooCalibration(
  executor: Executor,
  prompts: readonly string[],
  { steps, timesteps }: { readonly steps: number; readonly timesteps: number },
): Promise<CalibrationSet> {
  const sampler = createSampler(pipeline.schedulerConfig, steps);
  const kept = chooseTimesteps(sampler.timesteps, timesteps);
  const conditions = await encodeConditions(executor, pipeline, prompts, GUIDANCE);
  const denoiser = await openComponent(executor, pipeline.files, pipeline.denoiser);
  const parts: { samples: Float32Tensor; outputs: Float32Tensor }[] = [];
  for (let first = 0; first < prompts.length; first += BATCH) {
    const end = Math.min(prompts.length, first + BATCH);
    const conditioning = rowsOf(conditions.conditioning, first, end);
    const latents = startNoise(pipeline, SEEDS.calibration, first, end);
    parts.push(
      await sampleCalibration({
        ...{ denoiser, pipeline, sampler, guidance: GUIDANCE, latents, kept, conditioning },
        negative: conditions.negative,
      }),
    );
  }
  await denoiser.release();
  return {
    timesteps: kept.map((step) => sampler.timesteps[step] ?? 0),
    samples: concatRows(parts.map(({ samples }) => samples)),
    outputs: concatRows(parts.map(({ outputs }) => outputs)),
    stepWeights: kept.map(() => 1),
    ...conditions,
  };
}

/** Final latents of `prompts` under the evaluation's noise, one batch. */
export async function finalLatents(
  denoiser: Runnable,
  conditions: Pick<CalibrationSet, 'conditioning' | 'negative'>,
  steps: number,
): Promise<Float32Tensor> {
  const rows = conditions.conditioning?.dims[0] ?? 0;
  return sampleLatents({
    denoiser,
    pipeline,
    sampler: createSampler(pipeline.schedulerConfig, steps),
    guidance: GUIDANCE,
    latents: startNoise(pipeline, SEEDS.evaluation, 0, rows),
    ...conditions,
  });
}

function rowsOf(value: Float32Tensor | null, first: number, end: number): Float32Tensor | null {
  return value === null ? null : sliceRows(value, first, end);
}
