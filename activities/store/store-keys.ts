import { NibbleflowError } from '../../contracts/errors.js';

/**
 * Names of what a store keeps. Keys come from digests that were computed here and from references that travelled through a
 * server: none may lead out of the store.
 */

const DIGEST = /^[0-9a-f]{64}$/;
/** Digests, `<digest>.<name>-<size>.<index>`, `<digest>.json`, `.<uuid>.tmp`: one segment each, never `.` or `..`. */
const SEGMENT = /^(?!\.{1,2}$)[A-Za-z0-9._-]{1,255}$/;

/** `objects/<first two>/<sha256>`. Throws MissingArtifact for anything that is not a digest. */
export function objectKey(digest: string): string {
  if (!DIGEST.test(digest)) {
    throw new NibbleflowError('MissingArtifact', 'this is no digest of an artifact', { where: digest.slice(0, 80) });
  }
  return `objects/${digest.slice(0, 2)}/${digest}`;
}

/** When an object was last reused: an empty object beside it, since objects are never written twice. */
export function usedKey(digest: string): string {
  return objectKey(digest).replace(/^objects/, 'used');
}

export function resultKey(key: string): string {
  return `results/${key.slice(0, 2)}/${key}.json`;
}

/** What a result was made of, by stage: why another one is not reused is asked for by stage. */
export function identityKey(stage: string, key: string): string {
  return `identities/${stage}/${key}.json`;
}

export function checkpointKey(key: string): string {
  return `checkpoints/${asSegment(key)}`;
}

/** Names of batches are for people, those of activities have slashes: whatever is no part of a key becomes a dash. */
function asSegment(name: string): string {
  return name.replace(/[^A-Za-z0-9._-]/g, '-');
}

/** Runs that compute the same stage at the same time count for themselves. */
export function failureKey(key: string, run: string): string {
  return `failures/${asSegment(`${key}.${run}`)}.json`;
}

/** The segments of a key. Throws Internal for a key that could leave the store. */
export function keySegments(key: string): string[] {
  const segments = key.split('/');
  if (segments.every((segment) => SEGMENT.test(segment))) return segments;
  throw new NibbleflowError('Internal', 'a key of the store may not leave it', { where: key.slice(0, 200) });
}
