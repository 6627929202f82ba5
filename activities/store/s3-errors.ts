import { NibbleflowError } from '../../contracts/errors.js';

/** What the SDK's errors say of themselves. */
interface SdkError {
  readonly name?: string;
  readonly message?: string;
  readonly $metadata?: { readonly httpStatusCode?: number };
}

/** Problems that no request reached a server with: the settings are wrong. */
const SETTINGS = /CredentialsProvider|Region is missing|TokenProvider|InvalidUrl|Invalid URL/;
/** Refusals that pass: the server or the clock is busy. */
const PASSING: ReadonlySet<number> = new Set([408, 425, 429]);

/** The object is not there. A bucket that is not there is something else, where the answer says so. */
export function isMissing(error: unknown): boolean {
  const { name, $metadata } = error as SdkError;
  return name === 'NoSuchKey' || name === 'NotFound' || (name !== 'NoSuchBucket' && $metadata?.httpStatusCode === 404);
}

/**
 * StoreRefused for wrong places and rights, StoreUnavailable for all that may pass. Only the name and the sentence of the
 * answer are told: other fields of it hold key ids and signatures.
 */
export function asStoreError(error: unknown, url: string, endpoint: string | null): unknown {
  if (error instanceof NibbleflowError) return error;
  const { name = 'Error', message = '', $metadata } = error as SdkError;
  const status = $metadata?.httpStatusCode ?? 0;
  const where = endpoint === null ? url : `${url} at ${endpoint}`;
  const said = [name, message].filter((part) => part !== '' && part !== 'Error').join(': ');
  const isRefusal = status >= 300 && status < 500 && !PASSING.has(status);
  if (isRefusal || SETTINGS.test(`${name} ${message}`)) {
    return new NibbleflowError('StoreRefused', `the store refuses: ${said}`, {
      where,
      fix: 'Check the bucket, region and endpoint of store.url (NIBBLEFLOW_STORE) and the credentials of the AWS_* variables or profile.',
    });
  }
  return new NibbleflowError('StoreUnavailable', `the store does not answer: ${said}`, {
    where,
    fix: 'Check that the endpoint is up and reachable, then run the same command again: finished stages are reused.',
  });
}
