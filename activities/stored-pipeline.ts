import { readFileSync } from 'node:fs';
import type { ArtifactRef } from '../contracts/artifact.js';
import { NibbleflowError } from '../contracts/errors.js';
import { type PipelineManifest, pipelineManifestSchema } from '../contracts/stages.js';
import type { Pipeline } from '../models/pipelines/pipeline.js';
import type { PipelineFiles } from '../models/pipelines/pipeline-files.js';
import { readPipeline } from '../models/pipelines/read-pipeline.js';
import type { LocalStore } from './store/local-store.js';

/** The manifest of a stored pipeline folder. Throws MissingArtifact. */
export async function loadManifest(store: LocalStore, ref: ArtifactRef): Promise<PipelineManifest> {
  const parsed = pipelineManifestSchema.safeParse(await store.getJson(ref));
  if (parsed.success) return parsed.data;
  throw new NibbleflowError('MissingArtifact', 'the stored pipeline has no valid manifest', {
    where: ref.digest,
    fix: 'Run the same command again: the import is repeated.',
  });
}

/** The files of a stored folder, verified now and read when asked for. Throws MissingArtifact. */
export async function storedFiles(store: LocalStore, manifest: PipelineManifest): Promise<PipelineFiles> {
  const places = new Map<string, string>();
  for (const { path, ref } of manifest.files) places.set(path, await store.path(ref));
  return {
    name: manifest.name,
    paths: () => [...places.keys()],
    read: (path) => {
      const place = places.get(path);
      if (place === undefined) {
        throw new NibbleflowError('InvalidModel', `the pipeline has no ${path}`, { where: manifest.name });
      }
      const bytes = readFileSync(place);
      return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    },
  };
}

/** Reads a stored pipeline. Throws MissingArtifact or InvalidModel. */
export async function loadPipeline(store: LocalStore, ref: ArtifactRef): Promise<Pipeline> {
  return readPipeline(await storedFiles(store, await loadManifest(store, ref)));
}
