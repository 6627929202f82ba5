import { NibbleflowError } from '../../contracts/errors.js';
import type { Runnable } from '../executor.js';
import { linearCombination, scaled } from '../samplers/linear-combination.js';
import type { Sampler } from '../samplers/sampler.js';
import { gaussianTensor } from '../tensors/random.js';
import { concatRows, elementCount, type Float32Tensor, float32, sliceRows } from '../tensors/tensor.js';
import { denoiserFeeds } from './denoiser-feeds.js';
import { floatOutput } from './encode-prompts.js';
import type { Denoiser, Pipeline } from './pipeline.js';

/** Streams of the noise inside a walk start here, so that they never meet the streams of start noise (image indices). */
const STEP_NOISE_STREAM = 2 ** 32;

export interface SampleLatentsOptions {
  /** The opened denoiser: the float one, or a quantized one with the same inputs and outputs. */
  readonly denoiser: Runnable;
  readonly pipeline: Pipeline;
  readonly sampler: Sampler;
  /** g of u + g (c − u), u without and c with the condition. 1 runs the conditional branch alone. */
  readonly guidance: number;
  /** Unit start noise [B, C, H, W]. */
  readonly latents: Float32Tensor;
  /** Text conditioning [B, S, D]; null for models without text. */
  readonly conditioning: Float32Tensor | null;
  /** Conditioning of the branch without the prompt, [1, S, D] or [B, S, D]; null runs the conditional branch alone. */
  readonly negative: Float32Tensor | null;
  /** A class per image, for class-conditional models; the other branch gets the "no class" label. */
  readonly classLabels?: readonly number[];
  /** One seed per image, for samplers that add noise: image i draws from its own stream whatever the batch. */
  readonly noiseSeeds?: readonly number[];
  /** The noise of a step, instead of `noiseSeeds`. */
  readonly noise?: (stepIndex: number) => Float32Tensor;
  readonly onStep?: (info: SampleStep) => void | Promise<void>;
}

/** What happened at one step; tensors are views that stay valid. */
export interface SampleStep {
  readonly stepIndex: number;
  readonly timestep: number;
  /** What the denoiser saw, x_t scaled by the sampler: [B, C, H, W]. */
  readonly sample: Float32Tensor;
  /** The branch without the condition; null when it was not run. */
  readonly negative: Float32Tensor | null;
  readonly positive: Float32Tensor;
  /** What the sampler got. */
  readonly guided: Float32Tensor;
  /** x at the next timestep. */
  readonly next: Float32Tensor;
}

/**
 * Denoises a batch: starts from latents · initNoiseSigma and makes every step of the sampler. Both branches run as one
 * batch, the negative one first; of outputs with a variance the first C channels are used.
 * @returns the final latents [B, C, H, W]
 * @throws NibbleflowError InvalidInput when dims or conditions do not fit the pipeline
 */
export async function sampleLatents(options: SampleLatentsOptions): Promise<Float32Tensor> {
  const { pipeline, sampler, latents } = options;
  checkInputs(options);
  const guided = usesGuidance(options);
  const conditions = branchConditions(options, guided);
  let x = scaled(latents, sampler.initNoiseSigma);
  for (const [stepIndex, timestep] of sampler.timesteps.entries()) {
    const sample = sampler.scaleInput(x, stepIndex);
    const batch = guided ? concatRows([sample, sample]) : sample;
    const feeds = denoiserFeeds(pipeline.denoiser, { sample: batch, timestep, ...conditions });
    const outputs = await options.denoiser.run(feeds, [pipeline.denoiser.output]);
    const prediction = firstChannels(floatOutput(outputs, pipeline.denoiser.output), pipeline.denoiser);
    const rows = latents.dims[0] ?? 0;
    const negative = guided ? sliceRows(prediction, 0, rows) : null;
    const positive = guided ? sliceRows(prediction, rows, 2 * rows) : prediction;
    const combined = negative === null ? positive : applyGuidance(negative, positive, options.guidance);
    const next = sampler.step(combined, stepIndex, x, () => stepNoise(options, stepIndex));
    await options.onStep?.({ stepIndex, timestep, sample, negative, positive, guided: combined, next });
    x = next;
  }
  return x;
}

/** u + g (c − u), classifier-free guidance (Ho and Salimans 2022); in doubles, rounded once. */
export function applyGuidance(negative: Float32Tensor, positive: Float32Tensor, guidance: number): Float32Tensor {
  return linearCombination([
    [1 - guidance, negative],
    [guidance, positive],
  ]);
}

function usesGuidance(options: SampleLatentsOptions): boolean {
  if (options.guidance === 1) return false;
  return (options.conditioning !== null && options.negative !== null) || options.classLabels !== undefined;
}

function branchConditions(
  options: SampleLatentsOptions,
  guided: boolean,
): { conditioning: Float32Tensor | null; classLabels: readonly number[] | null } {
  const { conditioning, negative, classLabels, pipeline } = options;
  const rows = options.latents.dims[0] ?? 0;
  const noClass = Array.from({ length: rows }, () => pipeline.denoiser.classes ?? 0);
  const labels = classLabels ?? null;
  if (!guided) return { conditioning, classLabels: labels };
  return {
    conditioning:
      conditioning === null || negative === null ? null : concatRows([repeated(negative, rows), conditioning]),
    classLabels: labels === null ? null : [...noClass, ...labels],
  };
}

/** One row for all, or as many as there are. */
function repeated(value: Float32Tensor, rows: number): Float32Tensor {
  return value.dims[0] === 1 ? concatRows(Array.from({ length: rows }, () => value)) : value;
}

/** Drops the variance half of the channels, where the model predicts one. */
export function firstChannels(output: Float32Tensor, denoiser: Denoiser): Float32Tensor {
  if (!denoiser.predictsVariance) return output;
  const [rows = 0, channels = 0, ...space] = output.dims;
  const rowSize = channels * elementCount(space);
  const result = new Float32Array((rows * rowSize) / 2);
  for (let row = 0; row < rows; row += 1) {
    result.set(output.data.subarray(row * rowSize, row * rowSize + rowSize / 2), (row * rowSize) / 2);
  }
  return float32([rows, channels / 2, ...space], result);
}

function stepNoise(options: SampleLatentsOptions, stepIndex: number): Float32Tensor {
  if (options.noise !== undefined) return options.noise(stepIndex);
  const { noiseSeeds, latents } = options;
  if (noiseSeeds === undefined) throw new RangeError('this sampler adds noise: noiseSeeds are needed');
  const rowDims = latents.dims.slice(1);
  const rows = noiseSeeds.map((seed) => gaussianTensor(seed, STEP_NOISE_STREAM + stepIndex, [1, ...rowDims]));
  return concatRows(rows);
}

function checkInputs(options: SampleLatentsOptions): void {
  const { latents, conditioning, negative, classLabels, noiseSeeds, pipeline } = options;
  const { denoiser } = pipeline;
  const [rows = 0] = latents.dims;
  const problems: string[] = [];
  const expected = denoiser.sampleDims[0];
  if (latents.dims.length !== 4 || rows === 0 || latents.dims[1] !== expected) {
    problems.push(`latents [${latents.dims.join(', ')}] are not [batch, ${expected}, height, width]`);
  }
  if ((conditioning === null) !== (denoiser.inputs.conditioning === null)) {
    problems.push(conditioning === null ? 'the model needs text conditioning' : 'the model takes no text conditioning');
  }
  if (conditioning !== null && conditioning.dims[0] !== rows) {
    problems.push(`conditioning has ${conditioning.dims[0]} rows, latents ${rows}`);
  }
  if (negative !== null && negative.dims[0] !== 1 && negative.dims[0] !== rows) {
    problems.push(`negative conditioning has ${negative.dims[0]} rows, neither 1 nor ${rows}`);
  }
  if ((classLabels === undefined) !== (denoiser.inputs.classLabels === null)) {
    problems.push(classLabels === undefined ? 'the model needs class labels' : 'the model takes no class labels');
  }
  if (classLabels !== undefined && classLabels.length !== rows) {
    problems.push(`there are ${classLabels.length} class labels for ${rows} images`);
  }
  if (noiseSeeds !== undefined && noiseSeeds.length !== rows) {
    problems.push(`there are ${noiseSeeds.length} noise seeds for ${rows} images`);
  }
  if (problems.length > 0) {
    throw new NibbleflowError('InvalidInput', `cannot sample: ${problems.join('; ')}`, { where: pipeline.name });
  }
}
