import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { canonicalJson } from '../contracts/canonical-json.js';
import { NibbleflowError } from '../contracts/errors.js';
import type { EvaluationSpec } from '../contracts/evaluation-activities.js';
import { parseExtractorSpec } from '../evaluation/features/extractor-spec.js';
import {
  BUNDLED_EXTRACTORS,
  type FoundExtractor,
  findExtractor,
  foundExtractor,
  SPEC_FILE,
} from './extractor-folder.js';
import type { LocalStore } from './store/local-store.js';

type Wanted = EvaluationSpec['extractor'];

/** An extractor as an evaluation is started with it. */
export function extractorIdentity({ spec, folder, sha256 }: FoundExtractor): Wanted {
  const { input, outputs, layers, text } = spec;
  const description = createHash('sha256').update(canonicalJson({ input, outputs, layers, text })).digest('hex');
  return { name: spec.name, folder, sha256, description, files: null };
}

/** Its identity; its files too where other hosts share the store and do not have them with the package. */
export async function storeExtractor(store: LocalStore, found: FoundExtractor): Promise<Wanted> {
  const identity = extractorIdentity(found);
  if (store.bucket === null || found.origin === 'bundled') return identity;
  const description = await store.putFile('file', join(found.folder, SPEC_FILE));
  return { ...identity, files: { description, model: await store.putFile('file', found.modelPath) } };
}

/** What of it decides features and the names of scores: not where its files lie. */
export function extractorKey({ name, sha256, description }: Wanted): unknown {
  return { name, sha256, description };
}

/**
 * The extractor an evaluation was started with: from the store, of this host's package, or from its folder. Throws
 * InvalidModel when the folder holds another one by now.
 */
export async function evaluationExtractor(wanted: Wanted, store: LocalStore): Promise<FoundExtractor> {
  if (wanted.files !== null) return storedExtractor(wanted, wanted.files, store);
  if (BUNDLED_EXTRACTORS.includes(wanted.name)) {
    const bundled = await findExtractor(wanted.name, wanted.folder);
    if (isWanted(bundled, wanted)) return bundled;
  }
  const found = await findExtractor(wanted.folder, wanted.folder);
  if (isWanted(found, wanted)) return found;
  throw new NibbleflowError('InvalidModel', 'the extractor changed since the evaluation was started', {
    where: wanted.folder,
    fix: 'Run the same command again: it starts an evaluation with what the folder holds now.',
  });
}

async function storedExtractor(
  { folder }: Wanted,
  { description, model }: NonNullable<Wanted['files']>,
  store: LocalStore,
): Promise<FoundExtractor> {
  const spec = parseExtractorSpec(await store.getJson(description), folder);
  return foundExtractor({ spec, sha256: model.digest, modelPath: await store.path(model), folder, origin: 'folder' });
}

function isWanted(found: FoundExtractor, wanted: Wanted): boolean {
  return canonicalJson(extractorKey(extractorIdentity(found))) === canonicalJson(extractorKey(wanted));
}
