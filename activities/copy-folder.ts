import { join } from 'node:path';
import type { ArtifactRef } from '../contracts/artifact.js';
import { NibbleflowError } from '../contracts/errors.js';
import type { PipelineManifest } from '../contracts/stages.js';
import { checkModel } from '../models/onnx/check-model.js';
import { readComponentGraph } from '../models/pipelines/component-graph.js';
import type { Pipeline } from '../models/pipelines/pipeline.js';
import type { StageContext } from './stage-frame.js';
import { digestFolder } from './store/folder-digest.js';

/** A pipeline folder as it was at submission. */
export interface SubmittedFolder {
  readonly source: string;
  readonly sourceDigest: string;
  readonly name: string;
}

/** Copies the folder's files into the store. Throws InvalidModel when it changed since, or cannot be read. */
export async function copyFolder(spec: SubmittedFolder, context: StageContext): Promise<PipelineManifest> {
  const found = await digestFolder(spec.source).catch((error: unknown) => {
    throw error instanceof NibbleflowError ? error : unreadable(spec.source, error);
  });
  if (found.digest !== spec.sourceDigest) {
    throw new NibbleflowError('InvalidModel', 'the pipeline folder changed since the run was started', {
      where: spec.source,
      fix: 'Run the same command again: it starts a run for what the folder holds now.',
    });
  }
  const files: { path: string; ref: ArtifactRef }[] = [];
  for (const [index, { path, digest }] of found.files.entries()) {
    context.progress({ done: index, total: found.files.length, unit: 'files', note: path });
    const ref = await context.store.putFile('file', join(spec.source, path));
    if (ref.digest !== digest) throw unreadable(join(spec.source, path), new Error('it changed while it was read'));
    files.push({ path, ref });
    await context.breathe();
  }
  context.progress({ done: files.length, total: files.length, unit: 'files' });
  return { schemaVersion: 1, name: spec.name, files };
}

/** Checks the graphs of all components. Throws InvalidModel. */
export async function checkComponents(pipeline: Pipeline, context: StageContext): Promise<void> {
  for (const component of [pipeline.denoiser, pipeline.textEncoder, pipeline.vaeDecoder]) {
    if (component === null) continue;
    checkModel(readComponentGraph(pipeline.files, component), `${pipeline.name}/${component.modelPath}`);
    await context.breathe();
  }
  if (pipeline.denoiser.inputs.classLabels !== null) {
    throw new NibbleflowError('InvalidModel', 'class-conditional pipelines are not supported', {
      where: `${pipeline.name}/${pipeline.denoiser.modelPath}`,
      fix: 'Text-to-image and unconditional pipelines are.',
    });
  }
}

function unreadable(where: string, cause: unknown): NibbleflowError {
  const what = `cannot read the pipeline: ${cause instanceof Error ? cause.message : String(cause)}`;
  return new NibbleflowError('InvalidModel', what, {
    where,
    fix: 'Check that it exists and that you may read it.',
    cause,
  });
}
