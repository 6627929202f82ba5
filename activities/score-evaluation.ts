import type { z } from 'zod';
import type { ArtifactRef } from '../contracts/artifact.js';
import {
  type EvaluationActivities,
  type SampledSetRefs,
  type ScoreEvaluationResult,
  scoreEvaluationInputSchema,
} from '../contracts/evaluation-activities.js';
import type { Score } from '../contracts/score.js';
import type { DenoiserComparison } from '../evaluation/denoiser-comparison.js';
import { denoiserScore } from '../evaluation/denoiser-score.js';
import type { EvaluationDetails } from '../evaluation/evaluation-details.js';
import { extractorLabel } from '../evaluation/features/extractor-spec.js';
import type { FeatureSet } from '../evaluation/features/feature-set.js';
import { partnerRows } from '../evaluation/features/partner-rows.js';
import type { PictureSource } from '../evaluation/features/picture-source.js';
import { executorProducts } from '../evaluation/linalg/executor-products.js';
import { type PairedImageScores, pairedImageScores } from '../evaluation/metrics/paired-image-scores.js';
import type { MetricContext } from '../evaluation/metrics/set-metric.js';
import { pairedScores } from '../evaluation/paired-scores.js';
import { headlineOf } from '../evaluation/score-headline.js';
import { scoreSets } from '../evaluation/score-sets.js';
import {
  byTimestep,
  type TrajectoryDifferences,
  trajectoryDifferences,
  trajectoryScores,
} from '../evaluation/trajectory-scores.js';
import { readSafetensors } from '../models/tensors/safetensors.js';
import type { Tensor } from '../models/tensors/tensor.js';
import type { EngineExecutor } from './engine/engine-executor.js';
import { evaluationExtractor, extractorKey } from './evaluation-extractor.js';
import type { FoundExtractor } from './extractor-folder.js';
import { openLayers } from './features/open-layers.js';
import { promptScore } from './features/prompt-score.js';
import { mergeFeatureSets, openFeatureSet } from './features/stored-feature-set.js';
import { openStoredPictures } from './images/stored-pictures.js';
import { loadShards } from './load-artifacts.js';
import { referenceScores } from './reference-scores.js';
import { scoringCompute } from './scoring-compute.js';
import { loadShardMetadata, unlikeBatches } from './shard-metadata.js';
import { type ActivityDeps, runStage, type StageContext } from './stage-frame.js';

type Input = z.output<typeof scoreEvaluationInputSchema>;

/** Every score of an evaluation, from the artifacts of its shards: read tile by tile, recomputed without sampling again. */
export function createScoreEvaluation(deps: ActivityDeps): EvaluationActivities['scoreEvaluation'] {
  return (rawInput) =>
    runStage(
      deps,
      {
        stage: 'score',
        version: 5,
        input: scoreEvaluationInputSchema,
        key: ({ extractor, ...input }) => ({ ...input, extractor: extractorKey(extractor) }),
      },
      rawInput,
      async (input, context): Promise<Omit<ScoreEvaluationResult, 'reused' | 'seconds'>> => {
        const extractor = await evaluationExtractor(input.extractor, context.store);
        const { scores, details } = await context.withEngine(scoringCompute(input.compute), (executor) =>
          new EvaluationScoring(input, context, executor, extractor).run(),
        );
        const known = scores.filter(({ value }) => value !== null);
        return {
          scores: await context.store.putJson('scores', scores),
          details: await context.store.putJson('scores', details),
          headline: input.float === null ? null : headlineOf(scores),
          summary: `${known.length} scores; ${known.slice(0, 3).map(shortly).join(', ')}`.slice(0, 200),
        };
      },
    );
}

interface OpenedSet {
  readonly images: PictureSource;
  readonly features: FeatureSet;
  readonly differences: TrajectoryDifferences | null;
}

/** Between two signs of life inside a metric. */
const TELL_MS = 5_000;

class EvaluationScoring {
  private doing = 'scores';
  private told = 0;
  private toldAt = 0;

  constructor(
    private readonly input: Input,
    private readonly context: StageContext,
    private readonly executor: EngineExecutor,
    private readonly extractor: FoundExtractor,
  ) {}

  async run(): Promise<{ scores: Score[]; details: EvaluationDetails }> {
    const candidate = await this.opened(this.input.candidate, this.input.float !== null);
    const floor = this.input.floor === null ? null : await this.opened(this.input.floor, this.input.float !== null);
    const float = this.input.float === null ? null : await this.opened(this.input.float, false);
    const products = executorProducts(this.executor);
    const { settings } = this.input.protocol;
    const context: MetricContext = { products, settings, breathe: () => this.breathe() };
    try {
      const same = float === null ? NOTHING : await this.sameSeed(float, candidate, floor);
      const distances = await this.distances(float, candidate, floor, context);
      const found = [...same.scores, ...distances, ...(await this.clip(candidate))];
      const notes = [...this.input.notes, ...(await this.batchNotes())];
      const scores = found.map((score) => withNotes(score, notes));
      const details: EvaluationDetails = {
        schemaVersion: 1,
        notes: notes.map(({ text }) => text),
        pictures: same.pictures,
        candidate: seriesOf(candidate),
        floor: seriesOf(floor),
      };
      return { scores: scores.map((score) => ({ ...score, protocol: this.input.protocolDigest })), details };
    } finally {
      await products.release();
    }
  }

  private async opened(refs: SampledSetRefs, isCompared: boolean): Promise<OpenedSet> {
    const { store } = this.context;
    return {
      images: await openStoredPictures(store, await loadShards(store, refs.images)),
      features: await openFeatureSet(store, await mergeFeatureSets(store, await loadShards(store, refs.features))),
      differences: isCompared ? await this.differences(await loadShards(store, refs.trajectories)) : null,
    };
  }

  private async differences(refs: readonly ArtifactRef[]): Promise<TrajectoryDifferences> {
    const parts: Tensor[] = [];
    let timesteps: readonly number[] = [];
    for (const ref of refs) {
      const { tensors } = readSafetensors(await this.context.store.get(ref));
      parts.push(tensors.get('energies') as Tensor);
      timesteps = (await loadShardMetadata(this.context.store, ref)).timesteps;
    }
    return trajectoryDifferences(parts, timesteps);
  }

  /** Whether pictures that are compared were made in batches of one size. */
  private async batchNotes(): Promise<Input['notes']> {
    const { store } = this.context;
    const { float, candidate } = this.input;
    if (float === null) return [];
    const batchesOf = async ({ trajectories }: SampledSetRefs): Promise<number[]> => {
      const batches: number[] = [];
      for (const ref of await loadShards(store, trajectories))
        batches.push((await loadShardMetadata(store, ref)).batch);
      return batches;
    };
    const texts = unlikeBatches(await batchesOf(candidate), await batchesOf(float));
    return texts.map((text) => ({ about: 'float', text }));
  }

  private async sameSeed(float: OpenedSet, candidate: OpenedSet, floor: OpenedSet | null): Promise<SameSeed> {
    const { protocol, protocolDigest } = this.input;
    const wantsLpips = protocol.metrics.includes('lpips');
    const layers = wantsLpips ? await openLayers(this.executor, this.extractor, protocol.resize) : null;
    const { spec, sha256 } = this.extractor;
    const lpips = layers && {
      name: layers.name,
      extractor: extractorLabel({ name: spec.name, sha256, resize: protocol.resize }),
    };
    const compared = async (other: OpenedSet, note: string): Promise<PairedImageScores> =>
      pairedImageScores(float.images, other.images, {
        ...(layers === null ? {} : { lpips: layers }),
        onProgress: async (done, total) => {
          this.context.progress({ done, total, unit: 'pairs', note });
          await this.context.breathe();
        },
      });
    try {
      const values = await compared(candidate, 'same-seed pictures compared');
      const options = { against: 'float' as const, lpips, notes: [] };
      const floors = floor === null ? [] : pairedScores(await compared(floor, 'noise floor compared'), options);
      const images = pairedScores(values, options).map((score, index) => ({
        ...score,
        floor: floors[index]?.value ?? null,
      }));
      const { seed, resamples } = protocol.settings;
      const latents =
        candidate.differences === null
          ? []
          : trajectoryScores(candidate.differences, floor?.differences ?? null, {
              seed,
              resamples,
              protocol: protocolDigest,
            });
      return { scores: [...images, ...latents, ...(await this.denoiser())], pictures: pictureValues(values) };
    } finally {
      await layers?.layers.release();
    }
  }

  private async denoiser(): Promise<Score[]> {
    const { comparison, protocol, protocolDigest } = this.input;
    if (comparison === null) return [];
    const { seed, resamples } = protocol.settings;
    const found = (await this.context.store.getJson(comparison)) as DenoiserComparison;
    return [denoiserScore(found, { seed, resamples, protocol: protocolDigest })];
  }

  /** Distances to the float pictures and to the reference, beside those of the noise floor at the same n. */
  private async distances(
    float: OpenedSet | null,
    candidate: OpenedSet,
    floor: OpenedSet | null,
    context: MetricContext,
  ): Promise<Score[]> {
    const { metrics } = this.input.protocol;
    const common = {
      metrics,
      protocol: this.input.protocolDigest,
      isPublishedInception: this.extractor.isFidInception,
    };
    const untested = { ...context, settings: { ...context.settings, permutations: 0 } };
    if (float === null && floor === null && this.input.reference === null) {
      const alone = await scoreSets({
        ...common,
        fake: candidate.features,
        real: candidate.features,
        against: 'float',
        context: untested,
      });
      return alone.filter(({ against }) => against === 'none');
    }
    const own = float ?? candidate;
    let values: Record<string, number | null> = {};
    if (floor !== null) {
      this.note('distances of the noise floor');
      const floors = await scoreSets({
        ...{ ...common, fake: floor.features, real: own.features, against: 'float', context: untested },
      });
      values = Object.fromEntries(floors.map(({ metric, value }) => [metric, value]));
    }
    const scores: Score[] = [];
    if (float !== null) {
      this.note('distances to the float pictures');
      const partners = partnerRows(candidate.images.keys, float.images.keys);
      scores.push(
        ...(await scoreSets({
          ...{ ...common, fake: candidate.features, real: float.features, against: 'float', floor: values },
          context: { ...context, partners },
        })),
      );
    }
    this.note('distances to the reference');
    const toReference = await referenceScores({
      store: this.context.store,
      reference: this.input.reference,
      request: { ...common, fake: candidate.features, context },
      floor: values,
      isAloneCounted: float !== null,
    });
    return [...scores, ...toReference];
  }

  private async clip({ images, features }: OpenedSet): Promise<Score[]> {
    const { executor, extractor, context } = this;
    const { store } = context;
    const { protocol, protocolDigest } = this.input;
    const prompts = ((await store.getJson(this.input.prompts)) as string[]).slice(0, images.n);
    const score = await promptScore({
      ...{ images, features, prompts, extractor, executor, store, context },
      ...{ resize: protocol.resize, protocol: protocolDigest },
    });
    return score === null ? [] : [score];
  }

  private note(note: string): void {
    this.doing = note;
    this.tell();
  }

  /** Metrics of large sets take minutes: whoever watches hears that they go on. */
  private async breathe(): Promise<void> {
    if (performance.now() - this.toldAt > TELL_MS) this.tell();
    await this.context.breathe();
  }

  private tell(): void {
    this.toldAt = performance.now();
    this.told += 1;
    this.context.progress({ done: this.told, total: this.told + 1, unit: 'looks', note: this.doing });
  }
}

/** A score with what must be known of it; `float` notes concern what is measured against the float pipeline alone. */
function withNotes(score: Score, notes: Input['notes']): Score {
  const own = notes.filter(({ about }) => about === 'all' || about === score.against);
  return { ...score, notes: [...score.notes, ...own.map(({ text }) => text)] };
}

function seriesOf(set: OpenedSet | null): EvaluationDetails['candidate'] {
  const differences = set?.differences ?? null;
  return differences === null || differences.n === 0 ? null : byTimestep(differences);
}

interface SameSeed {
  readonly scores: readonly Score[];
  readonly pictures: EvaluationDetails['pictures'];
}

const NOTHING: SameSeed = { scores: [], pictures: {} };

function pictureValues({ psnrDb, ssim, lpips }: PairedImageScores): EvaluationDetails['pictures'] {
  return {
    psnr: [...psnrDb],
    ...(ssim === null ? {} : { ssim: [...ssim] }),
    ...(lpips === null ? {} : { lpips: [...lpips] }),
  };
}

function shortly({ name, value, unit }: Score): string {
  return `${name} ${value?.toPrecision(4)}${unit === '' ? '' : ` ${unit}`}`;
}
