import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { EngineExecutor } from '../activities/engine/engine-executor.js';
import type { Compute } from '../contracts/stages.js';
import { readComponentGraph } from '../models/pipelines/component-graph.js';
import { denoiserFeeds } from '../models/pipelines/denoiser-feeds.js';
import type { Pipeline } from '../models/pipelines/pipeline.js';
import { type Float32Tensor, float32, type Tensor } from '../models/tensors/tensor.js';

/** The probe stops after this, however many runs it got. */
const PROBE_SECONDS = 3;
const MINIMUM_RUNS = 2;
/** Rows of a probe run: large enough that threads are busy, small enough for any memory. */
const PROBE_ROWS = 8;
/** CLIP's text length, for exports that leave it open and have no tokenizer. */
const USUAL_TEXT_LENGTH = 77;

export interface Probe {
  /** Seconds of the float denoiser for one row (one sample, one guidance branch): the fastest and the slowest run. */
  readonly secondsPerRow: readonly [fastest: number, slowest: number];
  /** Memory of the engine's process at its largest, in bytes; null where the system does not tell. */
  readonly engineBytes: number | null;
}

/** Runs the float denoiser for a few seconds on the device, with zeros for inputs. */
export async function probeDenoiser(folder: string, pipeline: Pipeline, compute: Compute): Promise<Probe> {
  const feeds = probeFeeds(pipeline);
  const executor = await EngineExecutor.start({ device: compute.device, threads: compute.threads });
  try {
    const session = await executor.open({ path: join(folder, pipeline.denoiser.modelPath) });
    await session.run(feeds);
    const seconds: number[] = [];
    const deadline = performance.now() + PROBE_SECONDS * 1000;
    while (seconds.length < MINIMUM_RUNS || performance.now() < deadline) {
      const startedAt = performance.now();
      await session.run(feeds);
      seconds.push((performance.now() - startedAt) / 1000 / PROBE_ROWS);
    }
    const engineBytes = peakMemory(executor.pid);
    await session.release();
    return { secondsPerRow: [Math.min(...seconds), Math.max(...seconds)], engineBytes };
  } finally {
    await executor.close();
  }
}

function probeFeeds(pipeline: Pipeline): Record<string, Tensor> {
  const { denoiser } = pipeline;
  const sample = zeros([PROBE_ROWS, ...denoiser.sampleDims]);
  const classLabels = denoiser.inputs.classLabels === null ? null : Array.from({ length: PROBE_ROWS }, () => 0);
  return denoiserFeeds(denoiser, { sample, timestep: 1, conditioning: conditioning(pipeline), classLabels });
}

/** Zeros in the shape of the text's hidden states. */
function conditioning(pipeline: Pipeline): Float32Tensor | null {
  const { denoiser, files, tokenizer } = pipeline;
  const name = denoiser.inputs.conditioning;
  if (name === null) return null;
  const shape = readComponentGraph(files, denoiser).inputs.find((input) => input.name === name)?.shape ?? [];
  const length = typeof shape[1] === 'number' ? shape[1] : (tokenizer?.maxLength ?? USUAL_TEXT_LENGTH);
  const width = shape[2] ?? denoiser.config.cross_attention_dim;
  return typeof width === 'number' ? zeros([PROBE_ROWS, length, width]) : null;
}

function zeros(dims: readonly number[]): Float32Tensor {
  return float32(dims, new Float32Array(dims.reduce((product, size) => product * size, 1)));
}

/** The largest resident size so far on Linux, the current one where `ps` tells it. */
function peakMemory(pid: number): number | null {
  try {
    if (process.platform !== 'linux') {
      return Number(execFileSync('ps', ['-o', 'rss=', '-p', String(pid)], { encoding: 'utf8' })) * 1024;
    }
    const kilobytes = /VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
    return kilobytes === undefined ? null : Number(kilobytes) * 1024;
  } catch {
    return null;
  }
}
