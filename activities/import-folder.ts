import type { z } from 'zod';
import {
  type EvaluationActivities,
  type ImportFolderResult,
  importFolderInputSchema,
} from '../contracts/evaluation-activities.js';
import { readPipeline } from '../models/pipelines/read-pipeline.js';
import { checkComponents, copyFolder } from './copy-folder.js';
import { type ActivityDeps, runStage, type StageContext } from './stage-frame.js';
import { storedFiles } from './stored-pipeline.js';

type Input = z.output<typeof importFolderInputSchema>;

/** Copies a pipeline folder into the store and checks every model of it. */
export function createImportFolder(deps: ActivityDeps): EvaluationActivities['importFolder'] {
  return (rawInput) =>
    runStage(
      deps,
      {
        stage: 'import',
        version: 1,
        input: importFolderInputSchema,
        // Where the folder lies does not decide what is in it.
        key: ({ folder }) => ({ digest: folder.digest, name: folder.name }),
      },
      rawInput,
      importFolder,
    );
}

async function importFolder(
  { folder }: Input,
  context: StageContext,
): Promise<Omit<ImportFolderResult, 'reused' | 'seconds'>> {
  const manifest = await copyFolder({ source: folder.path, sourceDigest: folder.digest, name: folder.name }, context);
  const pipeline = readPipeline(await storedFiles(context.store, manifest));
  await checkComponents(pipeline, context);
  const bytes = manifest.files.reduce((sum, { ref }) => sum + ref.sizeBytes, 0);
  return {
    pipeline: await context.store.putJson('pipeline', manifest),
    summary: `${pipeline.className}: ${manifest.files.length} files, ${(bytes / 1e6).toFixed(1)} MB`,
  };
}
