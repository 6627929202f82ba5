import { setImmediate } from 'node:timers/promises';
import type { EngineExecutor } from '../activities/engine/engine-executor.js';
import { EnginePool } from '../activities/engine-pool.js';
import { extractorsFolder, type FoundExtractor, findExtractor } from '../activities/extractor-folder.js';
import { extractFeatureSet } from '../activities/features/extract-feature-set.js';
import { type ImageFolder, openImageFolder } from '../activities/images/image-folder.js';
import { scoringCompute } from '../activities/scoring-compute.js';
import type { Compute } from '../contracts/stages.js';
import type { FeatureSet } from '../evaluation/features/feature-set.js';
import { say } from './console-output.js';
import type { ExtractorOptions, ResizeMode } from './extractor-options.js';
import { loadConfig } from './load-config.js';
import { openStore, type StoreSettings } from './open-store.js';
import { chooseCompute } from './prepare-run.js';
import { ProgressView } from './progress-view.js';

/** What commands that look at pictures work with: no server, an engine of their own, features kept in the store. */
export interface PictureWork {
  readonly extractor: FoundExtractor;
  readonly resize: ResizeMode;
  readonly compute: Compute;
  readonly store: StoreSettings;
  readonly signal: AbortSignal;
}

/** Checks extractor, device and threads. Nothing is started or written. Throws InvalidInput or InvalidModel. */
export async function checkPictureWork(options: ExtractorOptions, signal: AbortSignal): Promise<PictureWork> {
  const loaded = await loadConfig(process.cwd());
  const extractor = await findExtractor(options.extractor, extractorsFolder(loaded.stateDir));
  const { threads, resize } = options;
  const compute = scoringCompute(chooseCompute(threads === undefined ? {} : { threads }, loaded));
  return { extractor, resize, compute, store: loaded, signal };
}

/** Opens a folder, decoding every picture once; progress goes to stderr. Throws InvalidInput naming unusable files. */
export async function openPictures(folder: string, atLeast: number, signal: AbortSignal): Promise<ImageFolder> {
  const view = new ProgressView();
  try {
    return await openImageFolder(folder, {
      atLeast,
      signal,
      onProgress: (done, total) => view.show(`reading ${folder}: ${done}/${total} pictures`, `reading ${folder}`),
    });
  } finally {
    view.clear();
  }
}

/** Starts an engine, which is gone when this returns or throws, however that comes. */
export async function withEngine<T>(
  { compute, signal }: PictureWork,
  work: (executor: EngineExecutor) => Promise<T>,
): Promise<T> {
  const engines = new EnginePool();
  try {
    return await engines.use(compute, signal, work);
  } finally {
    await engines.close();
  }
}

/** Features of a folder, those of earlier runs from the store. Says on stderr how many were computed. */
export async function featuresOf(
  images: ImageFolder,
  executor: EngineExecutor,
  { extractor, resize, store: settings, signal }: PictureWork,
): Promise<FeatureSet> {
  const view = new ProgressView();
  const store = await openStore(settings);
  try {
    const { set, extracted } = await extractFeatureSet({
      images,
      extractor,
      resize,
      executor,
      store,
      context: {
        progress: ({ done, total }) =>
          view.show(`features of ${images.folder}: ${done}/${total} pictures`, `features of ${images.folder}`),
        breathe: breatheUntil(signal),
      },
    });
    view.clear();
    const distinct = new Set(images.keys).size;
    const before = distinct - extracted;
    say(
      `features of ${images.folder}: ${images.n} pictures, ${extracted} extracted` +
        (before === 0 ? '' : `, ${before} known from before`),
    );
    return set;
  } finally {
    view.clear();
  }
}

/** Pauses long work for signals of the system; throws once `signal` is aborted. */
export function breatheUntil(signal: AbortSignal): () => Promise<void> {
  return async () => {
    await setImmediate();
    signal.throwIfAborted();
  };
}
