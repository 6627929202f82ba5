import type { ArtifactRef } from '../../contracts/artifact.js';
import { artifactRefSchema } from '../../contracts/artifact.js';
import type { FeatureSetManifest } from '../../contracts/feature-set-manifest.js';
import { extractFeatures } from '../../evaluation/features/extract-features.js';
import { batchSizeOf, type Extractor } from '../../evaluation/features/extractor-spec.js';
import type { FeatureSet } from '../../evaluation/features/feature-set.js';
import type { PictureSource } from '../../evaluation/features/picture-source.js';
import { inputTransform, type ResizeMode } from '../../evaluation/features/resize-modes.js';
import type { Executor, Runnable } from '../../models/executor.js';
import { writeSafetensors } from '../../models/tensors/safetensors.js';
import { concatRows, type Float32Tensor } from '../../models/tensors/tensor.js';
import { EngineExecutor } from '../engine/engine-executor.js';
import { machineFacts } from '../machine-facts.js';
import type { ProgressUpdate } from '../stage-progress.js';
import type { LocalStore } from '../store/local-store.js';
import { StageCache, stageKey } from '../store/stage-cache.js';
import { keyBuckets } from './key-buckets.js';
import { featureSetOf, repeatsOf, saveFeatureSet } from './stored-feature-set.js';

/** Raise it when the same pictures, extractor and settings give other features. */
const FEATURES_VERSION = 1;

/** What a stage's context and a command both have. */
export interface ExtractionContext {
  progress(update: ProgressUpdate): void;
  /** Lets heartbeats, cancellation and other work run. */
  breathe(): Promise<void>;
  /** Batches are divided by this after running out of memory; default 1. Features of other batch sizes are kept apart. */
  readonly microBatchDivisor?: number;
}

export interface FeatureSetExtraction {
  readonly images: PictureSource;
  readonly extractor: Extractor;
  readonly resize: ResizeMode;
  /** Unused when every picture's features are in the store already. */
  readonly executor: Executor;
  readonly store: LocalStore;
  readonly context: ExtractionContext;
}

export interface ExtractedFeatureSet {
  readonly set: FeatureSet;
  /** Names the set across processes: see openFeatureSet and mergeFeatureSets. */
  readonly ref: ArtifactRef;
  /** Different pictures whose features were computed now; 0: all were in the store. */
  readonly extracted: number;
}

/**
 * Features of a set of pictures, extracted once and kept. Pictures are grouped by their keys into chunks of up to 512, each
 * stored as soon as it is done under pictures, extractor, resizing and machine: a killed extraction goes on where it was, a
 * second call computes nothing, and one more picture costs one chunk. Throws InvalidModel naming the picture whose features
 * are not finite.
 */
export async function extractFeatureSet(options: FeatureSetExtraction): Promise<ExtractedFeatureSet> {
  const { images, extractor, resize, store } = options;
  const places = new Map<string, number>();
  const counts = new Map<string, number>();
  for (const [index, key] of images.keys.entries()) {
    if (!places.has(key)) places.set(key, index);
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  const extraction = new ChunkExtraction(options, places);
  try {
    const chunks: StoredChunk[] = [];
    for (const keys of keyBuckets([...places.keys()])) chunks.push(await extraction.chunk(keys));
    const [first] = chunks;
    if (first === undefined) throw new RangeError('no pictures to extract features of');
    const manifest: FeatureSetManifest = {
      schemaVersion: 1,
      extractor: { name: extractor.spec.name, sha256: extractor.sha256 },
      resize,
      widths: first.widths,
      chunks: chunks.map(({ features, keys }) => ({ features, keys: [...keys] })),
      repeats: repeatsOf(counts),
    };
    const ref = await saveFeatureSet(store, manifest);
    return { set: featureSetOf(store, manifest), ref, extracted: extraction.extracted };
  } finally {
    await extraction.release();
  }
}

interface StoredChunk {
  readonly features: ArtifactRef;
  readonly keys: readonly string[];
  readonly widths: FeatureSetManifest['widths'];
}

class ChunkExtraction {
  extracted = 0;
  private done = 0;
  private runnable: Runnable | undefined;
  private readonly cache: StageCache;

  constructor(
    private readonly options: FeatureSetExtraction,
    private readonly places: ReadonlyMap<string, number>,
  ) {
    this.cache = new StageCache(options.store);
  }

  /** The chunk of these pictures: from the store, or extracted and stored now. */
  async chunk(keys: readonly string[]): Promise<StoredChunk> {
    const cacheKey = stageKey({ stage: 'feature-chunk', version: FEATURES_VERSION, key: [this.identity(), keys] });
    const found = asChunk(await this.cache.load(cacheKey));
    if (found !== undefined) {
      this.report(keys.length);
      return { ...found, keys };
    }
    const outputs = await this.extract(keys);
    const features = await this.options.store.put('features', writeSafetensors(outputs));
    const widths = Object.fromEntries([...outputs].map(([name, rows]) => [name, rows.dims[1]]));
    await this.cache.save(cacheKey, { features, widths });
    this.extracted += keys.length;
    return { features, keys, widths: widths as StoredChunk['widths'] };
  }

  async release(): Promise<void> {
    await this.runnable?.release();
  }

  private async extract(keys: readonly string[]): Promise<Map<string, Float32Tensor>> {
    const { images, extractor, resize, executor, context } = this.options;
    this.runnable ??= await executor.open(extractor.model);
    const parts = new Map<string, Float32Tensor[]>();
    const batch = this.batch();
    for (let start = 0; start < keys.length; start += batch) {
      const indices = keys.slice(start, start + batch).map((key) => this.places.get(key) as number);
      const features = await extractFeatures({
        extractor: this.runnable,
        spec: extractor.spec,
        images: await images.read(indices),
        mode: resize,
        batchSize: batch,
        nameOf: (row) => images.nameOf(indices[row] as number),
      });
      for (const [name, rows] of Object.entries(features) as [string, Float32Tensor][]) {
        parts.set(name, [...(parts.get(name) ?? []), rows]);
      }
      this.report(indices.length);
      await context.breathe();
    }
    return new Map([...parts].map(([name, rows]) => [name, concatRows(rows)]));
  }

  /** Everything but the pictures that decides their features. */
  private identity(): unknown {
    const { extractor, resize, executor } = this.options;
    const { input, outputs } = extractor.spec;
    return {
      extractor: extractor.sha256,
      input: { name: input.name, size: input.size, ...inputTransform(extractor.spec, resize) },
      outputs,
      batch: this.batch(),
      device: executor.device,
      threads: executor instanceof EngineExecutor ? executor.threads : null,
      facts: machineFacts(),
    };
  }

  private batch(): number {
    const { extractor, context } = this.options;
    return Math.max(1, Math.floor(batchSizeOf(extractor.spec) / (context.microBatchDivisor ?? 1)));
  }

  private report(pictures: number): void {
    this.done += pictures;
    const total = this.places.size;
    this.options.context.progress({ done: this.done, total, unit: 'pictures', note: 'features' });
  }
}

function asChunk(value: unknown): Pick<StoredChunk, 'features' | 'widths'> | undefined {
  const found = value as { features?: unknown; widths?: StoredChunk['widths'] } | undefined;
  const ref = artifactRefSchema.safeParse(found?.features);
  if (!ref.success || typeof found?.widths?.pool !== 'number') return undefined;
  return { features: ref.data, widths: found.widths };
}
