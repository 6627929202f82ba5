import type { EngineExecutor } from '../../activities/engine/engine-executor.js';
import { EVALUATION_BATCH } from '../../activities/evaluation-sampling.js';
import { type FoundExtractor, findExtractor } from '../../activities/extractor-folder.js';
import { ownReference } from '../../activities/own-reference.js';
import type { LocalStore } from '../../activities/store/local-store.js';
import { StageCache, stageKey } from '../../activities/store/stage-cache.js';
import { loadManifest, loadPipeline } from '../../activities/stored-pipeline.js';
import type { ArtifactRef } from '../../contracts/artifact.js';
import { NibbleflowError } from '../../contracts/errors.js';
import type { Compute } from '../../contracts/stages.js';
import { extractFeatures } from '../../evaluation/features/extract-features.js';
import { frechetName } from '../../evaluation/metrics/frechet-name.js';
import type { Images } from '../../evaluation/metrics/image-pairs.js';
import { relativeMseOf } from '../../evaluation/metrics/relative-mse.js';
import { denoiserError } from '../../evaluation/sampling/denoiser-pairs.js';
import type { Runnable } from '../../models/executor.js';
import { openComponent } from '../../models/pipelines/open-component.js';
import type { Pipeline } from '../../models/pipelines/pipeline.js';
import { startNoise } from '../../models/pipelines/start-noise.js';
import { createSampler } from '../../models/samplers/create-sampler.js';
import { readSafetensors, writeSafetensors } from '../../models/tensors/safetensors.js';
import { asFloat32, type Float32Tensor, type Tensor } from '../../models/tensors/tensor.js';
import type { BenchLog } from './bench-log.js';
import type { MeasuredEngines } from './measured-engines.js';
import { type ProtocolScores, pictureDifference, protocolScores, type SampledSide } from './protocol-scores.js';
import type { Protocol } from './read-protocol.js';
import { type ProtocolSamples, protocolConditions, sampleProtocol } from './sample-protocol.js';

/** Raise it when the code of this folder gives other numbers. */
const VERSION = 1;
/** Noise of the row "other seeds": any seed, since the protocol's own noise is in a file. */
const OTHER_SEED = 7_001;
/** The bundled extractor, which the reference features are of. */
const EXTRACTOR = 'cifar10-resnet';
/** Two runtimes may round a picture's value to either neighbour. */
const PICTURE_TOLERANCE_LEVELS = 1;

export interface ProtocolEvaluationOptions {
  readonly store: LocalStore;
  readonly engines: MeasuredEngines;
  readonly protocol: Protocol;
  /** The imported float pipeline. */
  readonly reference: ArtifactRef;
  readonly compute: Compute;
  readonly facts: Readonly<Record<string, string>>;
  readonly log: BenchLog;
}

/** Evaluates pipelines of the store under a protocol. Results are kept in the store. */
export class ProtocolEvaluation {
  private readonly cache: StageCache;

  private constructor(
    private readonly options: ProtocolEvaluationOptions,
    private readonly pipeline: Pipeline,
    private readonly extractor: FoundExtractor,
    private readonly realFeatures: Float32Tensor,
  ) {
    this.cache = new StageCache(options.store);
  }

  /** Throws InvalidInput when the pipeline's sampler or reference features are not those of the protocol. */
  static async open(options: ProtocolEvaluationOptions): Promise<ProtocolEvaluation> {
    const { store, reference, protocol } = options;
    const pipeline = await loadPipeline(store, reference);
    const { timesteps } = createSampler(pipeline.schedulerConfig, protocol.steps);
    if (timesteps.join() !== protocol.timesteps.join()) {
      throw new NibbleflowError('InvalidInput', `the sampler's timesteps are not the protocol's: ${timesteps.join()}`);
    }
    const { files } = await loadManifest(store, reference);
    const denoiser = files.find(({ path }) => path === pipeline.denoiser.modelPath);
    const real = await ownReference(pipeline, denoiser?.ref.digest ?? '');
    if (real === null) throw new NibbleflowError('InvalidInput', 'there are no reference features for this pipeline');
    return new ProtocolEvaluation(options, pipeline, await findExtractor(EXTRACTOR, EXTRACTOR), real);
  }

  /** Our float pictures against the protocol's. Throws InvalidInput when they are more than a rounding apart. */
  async checkFloatPictures(): Promise<ReturnType<typeof pictureDifference>> {
    const difference = pictureDifference(this.options.protocol.floatImages, (await this.floatSamples()).images);
    if (difference.largest <= PICTURE_TOLERANCE_LEVELS) return difference;
    throw new NibbleflowError(
      'InvalidInput',
      `float pictures are up to ${difference.largest} levels from the protocol's`,
    );
  }

  /** The float model, with the protocol's noise or another one: how far apart two equally good answers are. */
  async float(noise: 'protocol' | 'other seeds'): Promise<ProtocolScores> {
    if (noise === 'protocol')
      return this.withEngine(async (executor) => this.scores(executor, await this.floatSamples(), null));
    return this.cached({ floatSeed: OTHER_SEED }, () =>
      this.withEngine(async (executor) => {
        const latents = startNoise(this.pipeline, OTHER_SEED, 0, this.options.protocol.prompts.length);
        const samples = await this.withDenoiser(executor, this.pipeline, (denoiser) =>
          this.sample(executor, this.pipeline, denoiser, latents),
        );
        return this.scores(executor, samples, null);
      }),
    );
  }

  /** A shipped folder: its own text encoder, denoiser file, decoder and scheduler. */
  shipped(candidate: ArtifactRef): Promise<ProtocolScores> {
    const { store, protocol } = this.options;
    return this.cached({ candidate }, async () => {
      const pipeline = await loadPipeline(store, candidate);
      return this.withEngine((executor) =>
        this.withDenoiser(executor, pipeline, async (denoiser) => {
          const samples = await this.sample(executor, pipeline, denoiser, protocol.latents);
          return this.scores(executor, samples, await this.denoiserRelativeMse(executor, denoiser));
        }),
      );
    });
  }

  private async denoiserRelativeMse(executor: EngineExecutor, denoiser: Runnable): Promise<number> {
    const { protocol } = this.options;
    const { triples, timesteps } = protocol;
    const conditions = await protocolConditions(executor, this.pipeline, protocol);
    const pairs = { triples, timesteps, conditions, ...(await this.floatSamples()).pairs };
    return relativeMseOf(await denoiserError(denoiser, this.pipeline, pairs, { batchSize: 2 * EVALUATION_BATCH }));
  }

  private sample(executor: EngineExecutor, pipeline: Pipeline, denoiser: Runnable, latents: Float32Tensor) {
    const { protocol, log } = this.options;
    return sampleProtocol({ executor, protocol, pipeline, denoiser, latents, log });
  }

  /** Pictures are compared with the protocol's, latents with ours: the protocol keeps none. */
  private async scores(
    executor: EngineExecutor,
    { images, latents }: ProtocolSamples,
    error: number | null,
  ): Promise<ProtocolScores> {
    const { floatImages } = this.options.protocol;
    const float = await this.floatSamples();
    const side = async (of: Omit<SampledSide, 'features'>): Promise<SampledSide> => ({
      ...of,
      features: await this.features(executor, of.images),
    });
    const reference = await side({ images: floatImages, latents: float.latents });
    return protocolScores(reference, await side({ images, latents }), this.realFeatures, error);
  }

  private async features(executor: EngineExecutor, images: Images): Promise<Float32Tensor> {
    const { model, spec } = this.extractor;
    const extractor = await executor.open(model);
    try {
      return (await extractFeatures({ extractor, spec, images })).pool;
    } finally {
      await extractor.release();
    }
  }

  private async floatSamples(): Promise<ProtocolSamples> {
    const { store, protocol } = this.options;
    const stored = await this.cached({ float: 'protocol' }, async () => {
      const made = await this.withEngine((executor) =>
        this.withDenoiser(executor, this.pipeline, (denoiser) =>
          this.sample(executor, this.pipeline, denoiser, protocol.latents),
        ),
      );
      const { images, latents, pairs } = made;
      const tensors = new Map<string, Tensor>([...Object.entries({ images, latents, ...pairs })]);
      return { samples: await store.put('images', writeSafetensors(tensors)) };
    });
    const { tensors } = readSafetensors(await store.get(stored.samples));
    const need = (name: string): Float32Tensor => asFloat32(tensors.get(name) as Tensor);
    return {
      images: tensors.get('images') as Images,
      latents: need('latents'),
      pairs: { samples: need('samples'), outputs: need('outputs') },
    };
  }

  private withEngine<T>(work: (executor: EngineExecutor) => Promise<T>): Promise<T> {
    return this.options.engines.use(this.options.compute, new AbortController().signal, work);
  }

  private async withDenoiser<T>(
    executor: EngineExecutor,
    { files, denoiser: component }: Pipeline,
    work: (denoiser: Runnable) => Promise<T>,
  ): Promise<T> {
    const denoiser = await openComponent(executor, files, component);
    const result = await work(denoiser);
    await denoiser.release();
    return result;
  }

  private async cached<T>(what: unknown, measure: () => Promise<T>): Promise<T> {
    const { protocol, reference, compute, facts } = this.options;
    const samples = protocol.prompts.length;
    const key = stageKey({
      stage: 'bench quality',
      version: VERSION,
      key: {
        protocol: protocol.digest,
        samples,
        reference,
        compute,
        facts,
        extractor: frechetName(this.extractor.spec.name, this.extractor.sha256),
        what,
      },
    });
    const known = (await this.cache.load(key)) as T | undefined;
    if (known !== undefined) return known;
    const result = await measure();
    await this.cache.save(key, result);
    return result;
  }
}
