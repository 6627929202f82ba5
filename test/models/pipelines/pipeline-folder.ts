import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { PipelineFiles } from '../../../models/pipelines/pipeline-files.js';
import { tensorFromNpy } from '../../../models/tensors/npy.js';
import { asFloat32, type Float32Tensor, type Tensor } from '../../../models/tensors/tensor.js';

const ROOT = new URL('../../../', import.meta.url);

/** A file or folder of the project, by its path from the root. */
export function projectPath(path: string): string {
  return fileURLToPath(new URL(path, ROOT));
}

/** The files of a pipeline folder on disk. */
export function pipelineFolder(path: string): PipelineFiles {
  const root = projectPath(path);
  const entries = readdirSync(root, { recursive: true, withFileTypes: true });
  const paths = entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1));
  return {
    name: basename(root),
    paths: () => paths,
    read: (file) => new Uint8Array(readFileSync(join(root, file))),
  };
}

/** The same files with some replaced (text or bytes) or taken away (null). */
export function changedFiles(
  files: PipelineFiles,
  changes: Readonly<Record<string, string | Uint8Array | null>>,
): PipelineFiles {
  const kept = files.paths().filter((path) => changes[path] === undefined);
  const added = Object.keys(changes).filter((path) => changes[path] !== null);
  return {
    name: files.name,
    paths: () => [...kept, ...added],
    read: (path) => {
      const change = changes[path];
      if (change === undefined || change === null) return files.read(path);
      return typeof change === 'string' ? new TextEncoder().encode(change) : change;
    },
  };
}

export function projectNpy(path: string): Tensor {
  return tensorFromNpy(readFileSync(projectPath(path)));
}

export function projectFloat32(path: string): Float32Tensor {
  return asFloat32(projectNpy(path));
}

export function projectJson<T>(path: string): T {
  return JSON.parse(readFileSync(projectPath(path), 'utf8')) as T;
}

/** Largest |a − b|. */
export function worstDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) throw new RangeError(`${a.length} values against ${b.length}`);
  let worst = 0;
  for (let i = 0; i < a.length; i += 1) worst = Math.max(worst, Math.abs((a[i] ?? Number.NaN) - (b[i] ?? Number.NaN)));
  return worst;
}

/** Largest |a|. */
export function largest(values: Float32Array): number {
  return values.reduce((max, value) => Math.max(max, Math.abs(value)), 0);
}
