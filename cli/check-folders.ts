import { accessSync, constants, existsSync, statSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { digestFolder, type FolderFile } from '../activities/store/folder-digest.js';
import { NibbleflowError } from '../contracts/errors.js';
import { folderFiles } from './folder-files.js';

export interface CheckedFolder {
  /** Absolute. */
  readonly folder: string;
  readonly digest: string;
  readonly files: readonly FolderFile[];
}

/**
 * Checks a pipeline folder before anything is started: it exists, has the layout, and its models can be read. Throws
 * InvalidInput or InvalidModel.
 */
export async function checkPipelineFolder(path: string): Promise<CheckedFolder> {
  const folder = resolve(path);
  const found = statSync(folder, { throwIfNoEntry: false });
  if (found === undefined) {
    throw new NibbleflowError('InvalidInput', 'the pipeline folder does not exist', {
      where: folder,
      fix: 'Give the path of a folder in the diffusers layout with ONNX models.',
    });
  }
  if (!found.isDirectory()) {
    throw new NibbleflowError('InvalidInput', 'the pipeline is not a folder', {
      where: folder,
      fix: 'Give the folder that holds model_index.json.',
    });
  }
  if (!existsSync(join(folder, 'model_index.json'))) {
    throw new NibbleflowError('InvalidModel', 'the folder has no model_index.json', {
      where: folder,
      fix: 'Give the top folder of a pipeline in the diffusers layout (the one with model_index.json in it).',
    });
  }
  const { digest, files } = await digestFolder(folder);
  const { readPipeline } = await import('../models/pipelines/read-pipeline.js');
  readPipeline(
    folderFiles(
      folder,
      files.map((file) => file.path),
    ),
  );
  return { folder, digest, files };
}

/**
 * Checks that the output folder can be written and does not lie in the pipeline. Nothing is created. Throws
 * OutputNotWritable or InvalidInput.
 */
export function checkOutputFolder(path: string, pipelineFolder: string): string {
  const out = resolve(path);
  const inside = relative(pipelineFolder, out);
  if (inside === '' || !(inside.startsWith('..') || resolve(inside) === inside)) {
    throw new NibbleflowError('InvalidInput', 'the output folder lies in the pipeline folder', {
      where: out,
      fix: 'Choose another one with --out.',
    });
  }
  const existing = nearestExisting(out);
  if (!statSync(existing).isDirectory()) throw notWritable(out, `${existing} is not a folder`);
  try {
    accessSync(existing, constants.W_OK | constants.X_OK);
  } catch (error) {
    throw notWritable(out, `no permission to write in ${existing}`, error);
  }
  return out;
}

function nearestExisting(path: string): string {
  let current = path;
  for (;;) {
    try {
      if (statSync(current, { throwIfNoEntry: false }) !== undefined) return current;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOTDIR') throw error;
    }
    current = dirname(current);
  }
}

function notWritable(out: string, why: string, cause?: unknown): NibbleflowError {
  return new NibbleflowError('OutputNotWritable', `the output folder cannot be written: ${why}`, {
    where: out,
    fix: 'Choose another folder with --out, or change its permissions.',
    cause,
  });
}
