import { stat } from 'node:fs/promises';
import type { z } from 'zod';
import { NibbleflowError } from '../contracts/errors.js';
import {
  type EvaluationActivities,
  type ImportReferenceResult,
  importReferenceInputSchema,
} from '../contracts/evaluation-activities.js';
import { refuseOtherOrigin } from '../evaluation/statistics/reference-statistics.js';
import { refuseFewPictures } from '../evaluation/statistics/refuse-few-pictures.js';
import { evaluationExtractor, extractorKey } from './evaluation-extractor.js';
import { featureOrigin } from './feature-protocol.js';
import { extractFeatureSet } from './features/extract-feature-set.js';
import { openImageFolder } from './images/image-folder.js';
import { type ActivityDeps, runStage, type StageContext } from './stage-frame.js';
import { openStatisticsFile } from './statistics-file.js';
import { digestFolder } from './store/folder-digest.js';

type Input = z.output<typeof importReferenceInputSchema>;
type Outcome = Omit<ImportReferenceResult, 'reused' | 'seconds'>;

/** Pictures become features; a statistics file is copied into the store. */
export function createImportReference(deps: ActivityDeps): EvaluationActivities['importReference'] {
  return (rawInput) =>
    runStage(
      deps,
      {
        stage: 'import-reference',
        version: 1,
        input: importReferenceInputSchema,
        key: ({ reference, extractor, ...input }) => ({
          ...input,
          reference: { kind: reference.kind, digest: reference.digest },
          extractor: extractorKey(extractor),
        }),
      },
      rawInput,
      (input, context) =>
        input.reference.kind === 'pictures' ? importPictures(input, context) : importStatistics(input, context),
    );
}

async function importPictures(input: Input, context: StageContext): Promise<Outcome> {
  const { path, digest } = input.reference;
  if ((await digestFolder(path, 'reference')).digest !== digest) throw changed(path);
  const extractor = await evaluationExtractor(input.extractor, context.store);
  const images = await openImageFolder(path, {
    signal: context.signal,
    onProgress: (done, total) => context.progress({ done, total, unit: 'pictures', note: 'reference pictures read' }),
  });
  const { store } = context;
  const { ref } = await context.withEngine(input.compute, (executor) =>
    extractFeatureSet({ images, extractor, resize: input.resize, executor, store, context }),
  );
  const { n, notes } = images;
  return { features: ref, statistics: null, n, notes: [...notes], summary: `features of ${n} reference pictures` };
}

async function importStatistics(input: Input, { store }: StageContext): Promise<Outcome> {
  const { path, digest } = input.reference;
  await stat(path).catch(() => {
    throw changed(path);
  });
  const ref = await store.putFile('file', path);
  if (ref.digest !== digest) throw changed(path);
  const extractor = await evaluationExtractor(input.extractor, store);
  const { statistics, close } = await openStatisticsFile(await store.path(ref));
  try {
    refuseOtherOrigin(statistics, featureOrigin(extractor, input.resize), path);
    refuseFewPictures(statistics, path);
    const { n, notes } = statistics;
    const what = n === null ? 'an unknown number of pictures' : `${n} pictures`;
    return { features: null, statistics: ref, n, notes: [...notes], summary: `statistics of ${what}` };
  } finally {
    await close();
  }
}

function changed(where: string): NibbleflowError {
  return new NibbleflowError('InvalidInput', 'the reference changed since the evaluation was started', {
    where,
    fix: 'Run the same command again: it starts an evaluation against what is there now.',
  });
}
