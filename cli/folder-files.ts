import { readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { NibbleflowError } from '../contracts/errors.js';
import type { PipelineFiles } from '../models/pipelines/pipeline-files.js';

/** A pipeline folder on disk, as the pure rooms read it. `paths` are relative with forward slashes. */
export function folderFiles(folder: string, paths: readonly string[]): PipelineFiles {
  return {
    name: basename(folder),
    paths: () => paths,
    read: (path) => {
      try {
        return readFileSync(join(folder, path));
      } catch (error) {
        const code = (error as NodeJS.ErrnoException).code ?? String(error);
        throw new NibbleflowError('InvalidModel', `cannot read a file of the pipeline: ${code}`, {
          where: join(folder, path),
          cause: error,
        });
      }
    },
  };
}
