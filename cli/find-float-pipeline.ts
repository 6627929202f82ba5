import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { digestFolder } from '../activities/store/folder-digest.js';
import { packageRoot } from './package-root.js';
import type { OwnManifest } from './read-own-manifest.js';

/**
 * The bundled pipeline that a folder was made from, told by the digest in its manifest; undefined if it is none of them.
 * Manifests hold no paths, so that any other float pipeline has to be named.
 */
export async function findFloatPipeline(manifest: OwnManifest | null): Promise<string | undefined> {
  const wanted = manifest?.input?.digest;
  if (wanted === undefined) return undefined;
  const zoo = join(packageRoot(), 'models', 'zoo');
  const folders = (await readdir(zoo)).map((name) => join(zoo, name));
  for (const folder of folders.filter((path) => existsSync(join(path, 'model_index.json')))) {
    if ((await digestFolder(folder)).digest === wanted) return folder;
  }
  return undefined;
}
