import { closeSync, openSync, readSync } from 'node:fs';
import { copyFile, mkdir, readFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { NibbleflowError } from '../contracts/errors.js';
import type { ExtractorSpec } from '../evaluation/features/extractor-spec.js';
import { checkModel } from '../models/onnx/check-model.js';
import type { ExternalReader } from '../models/onnx/external-data.js';
import type { Graph } from '../models/onnx/graph.js';
import { modelChunks, readModel } from '../models/onnx/model-proto.js';
import { type FoundExtractor, findExtractor, MODEL_FILE, SPEC_FILE } from './extractor-folder.js';
import { checkExtractorName } from './extractor-name.js';
import { tokenizerPaths } from './features/clip-embeddings.js';
import { probeExtractor } from './probe-extractor.js';
import { atomicWrite } from './store/atomic-write.js';
import { digestOfFile } from './store/local-store.js';
import { replaceFolder } from './store/replace-folder.js';

export interface OnnxImport {
  /** Holds extractor.json and model.onnx. */
  readonly folder: string;
  readonly extractorsDir: string;
  /** Default: as extractor.json says. */
  readonly name?: string;
  readonly say?: (line: string) => void;
}

/**
 * Keeps any ONNX feature model with an extractor.json as an extractor, after running it on one picture; a text encoder and its
 * tokenizer go with it. External data become part of the models. The extractors' folder is as before when anything fails.
 * @throws NibbleflowError InvalidModel, InvalidInput
 */
export async function importOnnxExtractor(options: OnnxImport): Promise<FoundExtractor> {
  const { folder, extractorsDir, say = () => undefined } = options;
  const found = await findExtractor(resolve(folder), extractorsDir);
  const name = options.name ?? found.spec.name;
  checkExtractorName(name);
  const { text } = found.spec;
  await replaceFolder(join(extractorsDir, name), async (fresh) => {
    say(`Checking ${found.modelPath}`);
    checkLayers(found.spec, await copyModel(found.folder, fresh, MODEL_FILE), found.modelPath);
    if (text !== undefined) {
      say(`Checking ${join(found.folder, text.model)}`);
      await copyModel(found.folder, fresh, text.model);
      for (const path of tokenizerPaths(found.folder, text)) await copyInto(found.folder, fresh, path);
    }
    const sha256 = await digestOfFile(join(fresh, MODEL_FILE));
    const spec: ExtractorSpec = { ...found.spec, name, provenance: { ...found.spec.provenance, model: sha256 } };
    await atomicWrite(join(fresh, SPEC_FILE), [new TextEncoder().encode(`${JSON.stringify(spec, null, 2)}\n`)]);
    say('Running it on one picture');
    await probeExtractor({ spec, folder: fresh, sha256 });
  });
  return await findExtractor(name, extractorsDir);
}

/** Copies a model after checking it, with its external data inside; returns what it computes. */
async function copyModel(folder: string, fresh: string, path: string): Promise<Graph> {
  const source = join(folder, ...path.split('/'));
  let hasExternalData = false;
  const external: ExternalReader = (location, offset, length) => {
    hasExternalData = true;
    return readRange(join(dirname(source), ...location.split('/')), offset, length);
  };
  const bytes = await readFile(source).catch((cause: NodeJS.ErrnoException) => {
    throw new NibbleflowError('InvalidModel', `the model cannot be read: ${cause.code}`, { where: source, cause });
  });
  const graph = readModel(bytes, { where: source, external });
  checkModel(graph, source);
  if (hasExternalData) await atomicWrite(join(fresh, ...path.split('/')), modelChunks(graph));
  else await copyInto(folder, fresh, path);
  return graph;
}

async function copyInto(folder: string, fresh: string, path: string): Promise<void> {
  const target = join(fresh, ...path.split('/'));
  await mkdir(dirname(target), { recursive: true, mode: 0o700 });
  await copyFile(join(folder, ...path.split('/')), target);
}

/** Fewer bytes when the file ends before; whoever asked says so. */
function readRange(path: string, offset: number, length: number): Uint8Array {
  const file = openSync(path, 'r');
  try {
    const bytes = new Uint8Array(length);
    let done = 0;
    while (done < length) {
      const count = readSync(file, bytes, done, length - done, offset + done);
      if (count === 0) break;
      done += count;
    }
    return bytes.subarray(0, done);
  } finally {
    closeSync(file);
  }
}

/** Layers of the LPIPS-style distance are values inside the graph, which no run needs to name. */
function checkLayers({ layers = [] }: ExtractorSpec, graph: Graph, where: string): void {
  const absent = layers.filter(({ name }) => !graph.hasValue(name)).map(({ name }) => name);
  if (absent.length === 0) return;
  throw new NibbleflowError('InvalidModel', `the model has no values called ${absent.join(', ')}`, {
    where,
    fix: 'extractor.json names values of model.onnx as its layers.',
  });
}
