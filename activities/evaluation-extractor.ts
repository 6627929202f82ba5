import { createHash } from 'node:crypto';
import { canonicalJson } from '../contracts/canonical-json.js';
import { NibbleflowError } from '../contracts/errors.js';
import type { EvaluationSpec } from '../contracts/evaluation-activities.js';
import { type FoundExtractor, findExtractor } from './extractor-folder.js';

type Wanted = EvaluationSpec['extractor'];

/** An extractor as an evaluation is started with it. */
export function extractorIdentity({ spec, folder, sha256 }: FoundExtractor): Wanted {
  const { input, outputs, layers, text } = spec;
  const description = createHash('sha256').update(canonicalJson({ input, outputs, layers, text })).digest('hex');
  return { name: spec.name, folder, sha256, description };
}

/** What of it decides features and the names of scores: not where its folder lies. */
export function extractorKey({ name, sha256, description }: Wanted): unknown {
  return { name, sha256, description };
}

/** The extractor an evaluation was started with. Throws InvalidModel when its folder holds another one by now. */
export async function evaluationExtractor(wanted: Wanted): Promise<FoundExtractor> {
  const found = await findExtractor(wanted.folder, wanted.folder);
  if (canonicalJson(extractorKey(extractorIdentity(found))) === canonicalJson(extractorKey(wanted))) return found;
  throw new NibbleflowError('InvalidModel', 'the extractor changed since the evaluation was started', {
    where: wanted.folder,
    fix: 'Run the same command again: it starts an evaluation with what the folder holds now.',
  });
}
