import { NibbleflowError } from '../contracts/errors.js';
import {
  PUBLISHED_INCEPTION_FILE,
  PUBLISHED_INCEPTION_NAME,
} from '../evaluation/features/inception/published-inception.js';
import { BUNDLED_EXTRACTORS } from './extractor-folder.js';

/** Folder names on every system, and parts of scores' names. */
const POSSIBLE = /^[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?$/;

/**
 * Refuses names that an imported extractor of one's own cannot have: those of other extractors, and any that a reader of scores
 * could take for FID.
 * @throws NibbleflowError InvalidInput
 */
export function checkExtractorName(name: string): void {
  const why = refusal(name);
  if (why === undefined) return;
  throw new NibbleflowError('InvalidInput', `an extractor cannot be called that: ${why}`, {
    where: name,
    fix: 'Choose another name.',
  });
}

function refusal(name: string): string | undefined {
  if (!POSSIBLE.test(name)) return 'names are lower case letters, digits, dots, dashes and underscores';
  if (BUNDLED_EXTRACTORS.includes(name)) return 'a bundled extractor has this name';
  if (name === PUBLISHED_INCEPTION_NAME) return `only ${PUBLISHED_INCEPTION_FILE} has this name`;
  return /fid/.test(name) ? 'FID is the distance of one published network' : undefined;
}
