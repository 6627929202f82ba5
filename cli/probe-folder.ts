import { digestFolder } from '../activities/store/folder-digest.js';
import type { RunSpec } from '../contracts/stages.js';
import { readPipeline } from '../models/pipelines/read-pipeline.js';
import { folderFiles } from './folder-files.js';
import { type Probe, probeDenoiser } from './probe-denoiser.js';

/** Probes the denoiser of a spec's folder. */
export async function probeFolder(spec: RunSpec): Promise<Probe> {
  const { files } = await digestFolder(spec.source);
  const paths = files.map((file) => file.path);
  return probeDenoiser(spec.source, readPipeline(folderFiles(spec.source, paths)), spec.compute);
}
