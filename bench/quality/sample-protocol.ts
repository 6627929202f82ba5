import type { EngineExecutor } from '../../activities/engine/engine-executor.js';
import { EVALUATION_BATCH } from '../../activities/evaluation-sampling.js';
import type { Images } from '../../evaluation/metrics/image-pairs.js';
import { FloatCollector } from '../../evaluation/sampling/float-collector.js';
import { samplePictures } from '../../evaluation/sampling/sample-pictures.js';
import type { Runnable } from '../../models/executor.js';
import { type Conditions, encodeConditions } from '../../models/pipelines/encode-conditions.js';
import { openComponent } from '../../models/pipelines/open-component.js';
import type { Pipeline } from '../../models/pipelines/pipeline.js';
import { createSampler } from '../../models/samplers/create-sampler.js';
import { concatRows, type Float32Tensor, sliceRows, type Tensor } from '../../models/tensors/tensor.js';
import type { BenchLog } from './bench-log.js';
import type { Protocol } from './read-protocol.js';

export interface ProtocolSampling {
  readonly executor: EngineExecutor;
  readonly protocol: Protocol;
  /** The pipeline whose text encoder and decoder run. */
  readonly pipeline: Pipeline;
  /** Its opened denoiser. */
  readonly denoiser: Runnable;
  /** Unit start noise of every picture. */
  readonly latents: Float32Tensor;
  readonly log: BenchLog;
}

export interface ProtocolSamples {
  readonly images: Images;
  /** Final latents. */
  readonly latents: Float32Tensor;
  /** What the denoiser saw and said at the protocol's triples, in their order. */
  readonly pairs: { readonly samples: Float32Tensor; readonly outputs: Float32Tensor };
}

/** What a pipeline's denoiser is conditioned on for the protocol's prompts, by its own text encoder. */
export function protocolConditions(
  executor: EngineExecutor,
  pipeline: Pipeline,
  { prompts, guidance }: Protocol,
): Promise<Conditions> {
  return encodeConditions(executor, pipeline, prompts, guidance);
}

/** Makes every picture of the protocol. */
export async function sampleProtocol(options: ProtocolSampling): Promise<ProtocolSamples> {
  const { executor, protocol, pipeline, log } = options;
  const conditions = await protocolConditions(executor, pipeline, protocol);
  const { vaeDecoder: component, files } = pipeline;
  const vaeDecoder = component === null ? null : await openComponent(executor, files, component);
  const parts = new Map<string, Tensor[]>();
  const n = protocol.prompts.length;
  for (let first = 0; first < n; first += EVALUATION_BATCH) {
    const end = Math.min(n, first + EVALUATION_BATCH);
    for (const [name, value] of await sampleBatch(options, conditions, vaeDecoder, first, end)) {
      parts.set(name, [...(parts.get(name) ?? []), value]);
    }
    log.progress(`pictures: ${end} of ${n}`);
  }
  await vaeDecoder?.release();
  const joined = (name: string): Float32Tensor => concatRows((parts.get(name) ?? []) as Float32Tensor[]);
  return {
    images: concatRows((parts.get('images') ?? []) as Images[]),
    latents: joined('latents'),
    pairs: { samples: joined('pairs.sample'), outputs: joined('pairs.output') },
  };
}

async function sampleBatch(
  { protocol, pipeline, denoiser, latents: noise }: ProtocolSampling,
  { conditioning, negative }: Conditions,
  vaeDecoder: Runnable | null,
  first: number,
  end: number,
): Promise<Map<string, Tensor>> {
  const triples = protocol.triples.filter(({ image }) => image >= first && image < end);
  const collector = new FloatCollector(first, 0, protocol.steps, pipeline.denoiser.sampleDims, triples);
  const { latents, images } = await samplePictures({
    pipeline,
    denoiser,
    vaeDecoder,
    sampler: createSampler(pipeline.schedulerConfig, protocol.steps),
    guidance: protocol.guidance,
    latents: sliceRows(noise, first, end),
    conditioning: conditioning === null ? null : sliceRows(conditioning, first, end),
    negative,
    onStep: (step) => collector.add(step),
  });
  return new Map<string, Tensor>([...collector.tensors(), ['latents', latents], ['images', images]]);
}
