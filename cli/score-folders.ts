import { resolve } from 'node:path';
import type { EngineExecutor } from '../activities/engine/engine-executor.js';
import { featureOrigin } from '../activities/feature-protocol.js';
import { openLayers } from '../activities/features/open-layers.js';
import type { ImageFolder } from '../activities/images/image-folder.js';
import { type FolderPairs, pairFolders } from '../activities/images/pair-folders.js';
import { type OpenStatistics, openStatisticsFile } from '../activities/statistics-file.js';
import { type ExitCode, NibbleflowError } from '../contracts/errors.js';
import { FEWEST_FOR_DISTANCES } from '../contracts/protocol.js';
import type { Score } from '../contracts/score.js';
import { extractorLabel } from '../evaluation/features/extractor-spec.js';
import type { FeatureSet } from '../evaluation/features/feature-set.js';
import { executorProducts } from '../evaluation/linalg/executor-products.js';
import { pairedImageScores } from '../evaluation/metrics/paired-image-scores.js';
import type { MetricContext } from '../evaluation/metrics/set-metric.js';
import { pairedScores } from '../evaluation/paired-scores.js';
import { type StatisticsScoreRequest, scoreAgainstStatistics } from '../evaluation/score-against-statistics.js';
import { scoreWithFloor } from '../evaluation/score-with-floor.js';
import { type ReferenceStatistics, refuseOtherOrigin } from '../evaluation/statistics/reference-statistics.js';
import { refuseFewPictures } from '../evaluation/statistics/refuse-few-pictures.js';
import type { ScoreOptions } from './commands/score.js';
import { print } from './console-output.js';
import {
  breatheUntil,
  checkPictureWork,
  featuresOf,
  openPictures,
  type PictureWork,
  withEngine,
} from './measure-pictures.js';
import { ProgressView } from './progress-view.js';
import { checkMetrics, existingFolder, type MetricRequest, pathKind } from './score-request.js';
import { scoreMarkdown, scoreTable } from './score-table.js';
import { untilInterrupted } from './until-interrupted.js';

/** A request whose every part was checked: both sides can be read, and nothing has been computed yet. */
interface CheckedScore {
  readonly work: PictureWork;
  readonly request: MetricRequest;
  readonly images: ImageFolder;
  readonly reference: ImageFolder | OpenStatistics;
  readonly pairs: FolderPairs | null;
}

/** `nibbleflow score`: everything is checked before any work; stdout gets the scores alone. */
export function scoreFolders(folder: string, reference: string, options: ScoreOptions): Promise<ExitCode> {
  return untilInterrupted(async (signal) => {
    const checked = await checkScore(folder, reference, options, signal);
    try {
      const scores = await withEngine(checked.work, (executor) => scoresOf(checked, executor));
      print(FORMATS[options.output](scores));
      return 0;
    } finally {
      if ('close' in checked.reference) await checked.reference.close();
    }
  });
}

const FORMATS: Readonly<Record<ScoreOptions['output'], (scores: readonly Score[]) => string>> = {
  text: scoreTable,
  md: scoreMarkdown,
  json: (scores) => JSON.stringify(scores, null, 2),
};

async function checkScore(
  folder: string,
  reference: string,
  options: ScoreOptions,
  signal: AbortSignal,
): Promise<CheckedScore> {
  const path = await existingFolder(folder, 'the folder of pictures');
  const kind = await pathKind(reference, 'the reference');
  const work = await checkPictureWork(options, signal);
  const paired = options.paired === true;
  const request = checkMetrics(options.metrics, options.set, work.extractor.spec, paired);
  if (kind === 'file') {
    if (paired) {
      throw new NibbleflowError('InvalidInput', 'a statistics file has no pictures to pair', {
        where: '--paired',
        fix: 'Give the folder of the reference pictures.',
      });
    }
    const statistics = await openCheckedStatistics(resolve(reference), work);
    try {
      const images = await openPictures(path, FEWEST_FOR_DISTANCES, signal);
      return { work, request, images, reference: statistics, pairs: null };
    } catch (error) {
      await statistics.close();
      throw error;
    }
  }
  const atLeast = request.metrics.length > 0 ? FEWEST_FOR_DISTANCES : 1;
  const images = await openPictures(path, atLeast, signal);
  const real = await openPictures(resolve(reference), atLeast, signal);
  return { work, request, images, reference: real, pairs: paired ? pairFolders(real, images) : null };
}

async function openCheckedStatistics(path: string, { extractor, resize }: PictureWork): Promise<OpenStatistics> {
  const open = await openStatisticsFile(path);
  try {
    refuseOtherOrigin(open.statistics, featureOrigin(extractor, resize), path);
    refuseFewPictures(open.statistics, path);
    return open;
  } catch (error) {
    await open.close();
    throw error;
  }
}

async function scoresOf(checked: CheckedScore, executor: EngineExecutor): Promise<Score[]> {
  const { work, request, images, reference, pairs } = checked;
  if (request.metrics.length === 0) return pairScores(checked, executor);
  const fake = await featuresOf(images, executor, work);
  const real = 'statistics' in reference ? reference.statistics : await featuresOf(reference, executor, work);
  const products = executorProducts(executor);
  const context: MetricContext = { products, settings: request.settings, breathe: breatheUntil(work.signal) };
  const metrics = request.metrics.map(({ id }) => id);
  const isPublishedInception = work.extractor.isFidInception;
  const view = new ProgressView();
  view.show(`scoring: ${metrics.join(', ')}`, 'scoring');
  try {
    const scores = await scoresAgainst(real, { fake, metrics, context, protocol: null, isPublishedInception });
    const notes = [...notesOf('scored', images.notes), ...notesOf('reference', referenceNotes(reference))];
    return [...(pairs === null ? [] : await pairScores(checked, executor)), ...withNotes(scores, notes)];
  } finally {
    view.clear();
    await products.release();
  }
}

function scoresAgainst(
  real: FeatureSet | ReferenceStatistics,
  request: Omit<StatisticsScoreRequest, 'statistics'>,
): Promise<Score[]> {
  if ('keys' in real) return scoreWithFloor({ ...request, real });
  const { rows } = real;
  return rows === null
    ? scoreAgainstStatistics({ ...request, statistics: real })
    : scoreWithFloor({ ...request, real: rows });
}

function referenceNotes(reference: CheckedScore['reference']): readonly string[] {
  return 'statistics' in reference ? reference.statistics.notes : reference.notes;
}

function notesOf(side: string, notes: readonly string[]): string[] {
  return notes.map((note) => `${side} pictures: ${note}`);
}

function withNotes(scores: readonly Score[], notes: readonly string[]): Score[] {
  return scores.map((score) => ({ ...score, notes: [...score.notes, ...notes] }));
}

/** Same-name pairs: means over pictures. */
async function pairScores({ work, pairs, images }: CheckedScore, executor: EngineExecutor): Promise<Score[]> {
  if (pairs === null) return [];
  const layers = await openLayers(executor, work.extractor, work.resize);
  const view = new ProgressView();
  try {
    const values = await pairedImageScores(pairs.reference, pairs.candidate, {
      ...(layers === null ? {} : { lpips: layers }),
      onProgress: async (done, total) => {
        view.show(`comparing pairs: ${done}/${total}`, 'comparing pairs');
        await breatheUntil(work.signal)();
      },
    });
    const { spec, sha256 } = work.extractor;
    const lpips = layers && {
      name: layers.name,
      extractor: extractorLabel({ name: spec.name, sha256, resize: work.resize }),
    };
    return pairedScores(values, { against: 'reference', lpips, notes: notesOf('scored', images.notes) });
  } finally {
    view.clear();
    await layers?.layers.release();
  }
}
