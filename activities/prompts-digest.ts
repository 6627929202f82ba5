import { createHash } from 'node:crypto';

/** sha256 of a list of prompts, as manifests and `compare` have it. */
export function promptsDigest(prompts: readonly string[]): string {
  return createHash('sha256').update(JSON.stringify(prompts)).digest('hex');
}
