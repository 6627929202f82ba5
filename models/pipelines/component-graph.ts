import { NibbleflowError } from '../../contracts/errors.js';
import type { ExternalReader } from '../onnx/external-data.js';
import type { Graph, ValueInfo } from '../onnx/graph.js';
import { readModel } from '../onnx/model-proto.js';
import type { Component } from './pipeline.js';
import type { PipelineFiles } from './pipeline-files.js';

/**
 * The graph of a component, external data included.
 * @throws NibbleflowError InvalidModel when a file is missing or is no ONNX model
 */
export function readComponentGraph(files: PipelineFiles, component: Pick<Component, 'folder' | 'modelPath'>): Graph {
  return readModel(files.read(component.modelPath), {
    where: `${files.name}/${component.modelPath}`,
    external: externalReader(files, component.folder),
  });
}

/** Reads ranges of files beside the model; the last file is kept, as tensors of one file come in a row. */
function externalReader(files: PipelineFiles, folder: string): ExternalReader {
  let lastPath = '';
  let lastBytes = new Uint8Array(0);
  return (location, offset, length) => {
    const path = `${folder}/${location}`;
    if (path !== lastPath) {
      if (!files.paths().includes(path)) {
        throw new NibbleflowError('InvalidModel', `the pipeline has no ${path}, which holds weights of its model`, {
          where: files.name,
          fix: 'Copy the whole folder; the .data file belongs to the .onnx file.',
        });
      }
      lastBytes = new Uint8Array(files.read(path));
      lastPath = path;
    }
    return lastBytes.subarray(offset, offset + length);
  };
}

/**
 * The ONNX file of a component's folder: model.onnx, or the only .onnx file.
 * @throws NibbleflowError InvalidModel when there is none, or no saying which
 */
export function findModelPath(files: PipelineFiles, folder: string): string {
  const usual = `${folder}/model.onnx`;
  const models = files
    .paths()
    .filter(
      (path) => path.startsWith(`${folder}/`) && path.endsWith('.onnx') && !path.slice(folder.length + 1).includes('/'),
    );
  if (models.includes(usual)) return usual;
  const [only] = models;
  if (only !== undefined && models.length === 1) return only;
  const found =
    models.length === 0 ? 'no .onnx file' : `several .onnx files (${models.join(', ')}), none called model.onnx`;
  throw new NibbleflowError('InvalidModel', `the component ${folder} has ${found}`, {
    where: `${files.name}/${folder}`,
    fix: 'Export the component to ONNX, or copy its missing file.',
  });
}

/**
 * The element type of a graph input or output, when it is one of `allowed`.
 * @throws NibbleflowError InvalidModel otherwise
 */
export function elementTypeOf<T extends string>(value: ValueInfo, allowed: readonly T[], where: string): T {
  const found = allowed.find((type) => type === value.type);
  if (found !== undefined) return found;
  throw new NibbleflowError(
    'InvalidModel',
    `"${value.name}" has type ${value.type}; ${allowed.join(' or ')} is needed`,
    {
      where,
      fix: 'Export the component with another precision.',
    },
  );
}
