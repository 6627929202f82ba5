import { NibbleflowError } from '../contracts/errors.js';
import type { EvaluationSpec } from '../contracts/evaluation-activities.js';
import { type FoundExtractor, findExtractor } from './extractor-folder.js';

/** The extractor an evaluation was started with. Throws InvalidModel when its folder holds another one by now. */
export async function evaluationExtractor(wanted: EvaluationSpec['extractor']): Promise<FoundExtractor> {
  const found = await findExtractor(wanted.folder, wanted.folder);
  if (found.sha256 === wanted.sha256) return found;
  throw new NibbleflowError('InvalidModel', 'the extractor changed since the evaluation was started', {
    where: wanted.folder,
    fix: 'Run the same command again: it starts an evaluation with what the folder holds now.',
  });
}
