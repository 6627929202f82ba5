import type { Executor, OpenOptions, Runnable } from '../executor.js';
import { writeModel } from '../onnx/model-proto.js';
import { readComponentGraph } from './component-graph.js';
import type { Component } from './pipeline.js';
import type { PipelineFiles } from './pipeline-files.js';

/** Opens a component's model. Weights in external files are put into the model first: its bytes travel as one. */
export async function openComponent(
  executor: Executor,
  files: PipelineFiles,
  component: Pick<Component, 'folder' | 'modelPath'>,
  options?: OpenOptions,
): Promise<Runnable> {
  const external = externalFiles(files, component);
  const bytes =
    external.length === 0 ? files.read(component.modelPath) : writeModel(readComponentGraph(files, component));
  return executor.open(bytes, options);
}

/** Bytes of a component's model file and of the files that hold its weights. */
export function componentBytes(files: PipelineFiles, component: Pick<Component, 'folder' | 'modelPath'>): number {
  return [component.modelPath, ...externalFiles(files, component)].reduce(
    (sum, path) => sum + files.read(path).byteLength,
    0,
  );
}

/** Paths of the files beside a model that hold weights of it. @throws NibbleflowError InvalidModel when one is missing */
export function externalFiles(files: PipelineFiles, component: Pick<Component, 'folder' | 'modelPath'>): string[] {
  const beside = files
    .paths()
    .some((path) => path.startsWith(`${component.folder}/`) && path !== component.modelPath && !path.endsWith('.json'));
  if (!beside) return [];
  const read = new Set<string>();
  const recording: PipelineFiles = {
    name: files.name,
    paths: () => files.paths(),
    read: (path) => {
      read.add(path);
      return files.read(path);
    },
  };
  readComponentGraph(recording, component);
  read.delete(component.modelPath);
  return [...read].sort();
}
