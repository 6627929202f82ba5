import { NibbleflowError } from '../../contracts/errors.js';
import type { PipelineFiles } from './pipeline-files.js';

export type JsonObject = Readonly<Record<string, unknown>>;

/**
 * A JSON object of a pipeline folder.
 * @throws NibbleflowError InvalidModel when the file is missing, is no JSON, or holds something else than an object
 */
export function readJsonObject(files: PipelineFiles, path: string): JsonObject {
  const value = readJson(files, path);
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as JsonObject;
  throw new NibbleflowError('InvalidModel', `${path} holds no JSON object`, { where: `${files.name}/${path}` });
}

/** As readJsonObject; an empty object when the file does not exist. */
export function readOptionalJsonObject(files: PipelineFiles, path: string): JsonObject {
  return files.paths().includes(path) ? readJsonObject(files, path) : {};
}

function readJson(files: PipelineFiles, path: string): unknown {
  if (!files.paths().includes(path)) {
    throw new NibbleflowError('InvalidModel', `the pipeline has no ${path}`, {
      where: files.name,
      fix: 'Give a folder in the diffusers layout, exported to ONNX (for example with optimum-cli).',
    });
  }
  try {
    return JSON.parse(new TextDecoder().decode(files.read(path)));
  } catch (cause) {
    if (cause instanceof NibbleflowError || !(cause instanceof SyntaxError)) throw cause;
    throw new NibbleflowError('InvalidModel', `${path} is no valid JSON: ${cause.message}`, {
      where: `${files.name}/${path}`,
      fix: 'Copy or export the pipeline again; the file may be truncated.',
      cause,
    });
  }
}

/** A number of a config, or undefined when the key is missing, null or of another type. */
export function numberOf(config: JsonObject, key: string): number | undefined {
  const value = config[key];
  return typeof value === 'number' && Number.isFinite(value) ? value : undefined;
}
