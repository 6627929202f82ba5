import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { isAbsolute, join, resolve } from 'node:path';
import { NibbleflowError, nearestName } from '../contracts/errors.js';
import { type Extractor, parseExtractorSpec } from '../evaluation/features/extractor-spec.js';
import {
  isPublishedInception,
  PUBLISHED_INCEPTION_FILE,
  PUBLISHED_INCEPTION_NAME,
} from '../evaluation/features/inception/published-inception.js';
import { packageFile } from './package-file.js';
import { digestOfFile } from './store/local-store.js';

/** The two files of an extractor's folder. */
export const SPEC_FILE = 'extractor.json';
export const MODEL_FILE = 'model.onnx';

/** Extractors that the package brings along. */
const BUNDLED: Readonly<Record<string, string>> = { 'cifar10-resnet': 'models/zoo/cifar10-resnet' };

export const BUNDLED_EXTRACTORS: readonly string[] = Object.keys(BUNDLED);

/** An extractor that was found, with its model as a file. */
export interface FoundExtractor extends Extractor {
  readonly model: { readonly path: string };
  readonly modelPath: string;
  readonly folder: string;
  readonly origin: 'bundled' | 'imported' | 'folder';
  /** Whether distances of its features may be called FID. */
  readonly isFidInception: boolean;
}

/** Where a state folder keeps imported extractors. */
export function extractorsFolder(stateDir: string): string {
  return join(stateDir, 'extractors');
}

/**
 * A bundled or imported extractor by name, or the one in a folder (`./mine`, an absolute path).
 * @throws NibbleflowError InvalidInput for an unknown name, with the nearest one; InvalidModel for a folder without a readable
 *   extractor, or whose model is not the one that was imported
 */
export async function findExtractor(nameOrFolder: string, extractorsDir: string): Promise<FoundExtractor> {
  const bundled = BUNDLED[nameOrFolder];
  if (bundled !== undefined) return readExtractor(packageFile(bundled), 'bundled');
  const imported = await importedNames(extractorsDir);
  if (imported.includes(nameOrFolder)) return readExtractor(join(extractorsDir, nameOrFolder), 'imported');
  if (isAbsolute(nameOrFolder) || /[\\/]/.test(nameOrFolder) || existsSync(join(nameOrFolder, SPEC_FILE))) {
    return readExtractor(resolve(nameOrFolder), 'folder');
  }
  throw unknownExtractor(nameOrFolder, [...BUNDLED_EXTRACTORS, ...imported]);
}

/** A row of `nibbleflow extractor list`. */
export interface ListedExtractor {
  readonly name: string;
  readonly origin: 'bundled' | 'imported';
  readonly folder: string;
  /** null when it cannot be read; then `problem` says why. */
  readonly found: FoundExtractor | null;
  readonly problem: string | null;
}

/** Every bundled and imported extractor; unreadable ones with what is wrong. */
export async function listExtractors(extractorsDir: string): Promise<ListedExtractor[]> {
  const places = [
    ...Object.entries(BUNDLED).map(([name, path]) => ({ name, origin: 'bundled' as const, folder: packageFile(path) })),
    ...(await importedNames(extractorsDir)).map((name) => ({
      name,
      origin: 'imported' as const,
      folder: join(extractorsDir, name),
    })),
  ];
  return Promise.all(
    places.map(async (place) => {
      try {
        return { ...place, found: await readExtractor(place.folder, place.origin), problem: null };
      } catch (error) {
        if (!(error instanceof NibbleflowError)) throw error;
        return { ...place, found: null, problem: error.message };
      }
    }),
  );
}

/** The extractor in a folder. */
async function readExtractor(folder: string, origin: FoundExtractor['origin']): Promise<FoundExtractor> {
  const specPath = join(folder, SPEC_FILE);
  const modelPath = join(folder, MODEL_FILE);
  const spec = parseExtractorSpec(
    parseJson(await readFile(specPath, 'utf8').catch(missing(specPath)), specPath),
    specPath,
  );
  const sha256 = await digestOfFile(modelPath).catch(missing(modelPath));
  const imported = spec.provenance?.model;
  if (imported !== undefined && imported !== sha256) {
    throw new NibbleflowError('InvalidModel', 'the model is not the one that was imported', {
      where: modelPath,
      fix: 'Import it again.',
    });
  }
  return foundExtractor({ spec, sha256, modelPath, folder, origin });
}

/** An extractor whose description and model were read. */
export function foundExtractor(
  parts: Pick<FoundExtractor, 'spec' | 'sha256' | 'modelPath' | 'folder' | 'origin'>,
): FoundExtractor {
  const { spec, sha256, modelPath } = parts;
  return { ...parts, model: { path: modelPath }, isFidInception: isPublishedInception(spec, sha256) };
}

const missing =
  (path: string) =>
  (error: NodeJS.ErrnoException): never => {
    const what = error.code === 'ENOENT' ? 'the extractor has no such file' : `the file cannot be read: ${error.code}`;
    throw new NibbleflowError('InvalidModel', what, {
      where: path,
      fix: `A folder with ${SPEC_FILE} and ${MODEL_FILE} is an extractor.`,
      cause: error,
    });
  };

function parseJson(text: string, where: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new NibbleflowError('InvalidModel', 'the description of the extractor is not JSON', { where, cause });
  }
}

/** Folders that are being written start with a dot. */
async function importedNames(extractorsDir: string): Promise<string[]> {
  const entries = await readdir(extractorsDir, { withFileTypes: true }).catch(() => []);
  return entries
    .filter((entry) => entry.isDirectory() && !entry.name.startsWith('.'))
    .map((entry) => entry.name)
    .sort();
}

function unknownExtractor(name: string, known: readonly string[]): NibbleflowError {
  const nearest = nearestName(name, [...known, PUBLISHED_INCEPTION_NAME]);
  const hints = [
    ...(nearest === undefined || nearest === name ? [] : [`Did you mean ${nearest}?`]),
    `Known: ${known.join(', ')}.`,
    ...(known.includes(PUBLISHED_INCEPTION_NAME)
      ? []
      : [`\`nibbleflow extractor import inception ${PUBLISHED_INCEPTION_FILE}\` makes ${PUBLISHED_INCEPTION_NAME}.`]),
  ];
  return new NibbleflowError('InvalidInput', 'there is no such extractor', { where: name, fix: hints.join(' ') });
}
