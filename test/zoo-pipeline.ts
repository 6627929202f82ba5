import { readdirSync, readFileSync } from 'node:fs';
import { join, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Pipeline } from '../models/pipelines/pipeline.js';
import type { PipelineFiles } from '../models/pipelines/pipeline-files.js';
import { readPipeline } from '../models/pipelines/read-pipeline.js';

/** A pipeline folder on disk. */
export function folderPipeline(folder: string): Pipeline {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const paths = entries.map((entry) => relative(folder, join(entry.parentPath, entry.name)).split(sep).join('/'));
  const files: PipelineFiles = {
    name: 'test',
    paths: () => paths,
    read: (path) => new Uint8Array(readFileSync(join(folder, path))),
  };
  return readPipeline(files);
}

/** The bundled text-to-image pipeline. */
export function zooPipeline(): Pipeline {
  return folderPipeline(fileURLToPath(new URL('../models/zoo/emoji-t2i', import.meta.url)));
}
