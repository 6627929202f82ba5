import { fileURLToPath } from 'node:url';
import { NibbleflowError, nearestName } from '../../contracts/errors.js';

/** Where an S3 store is. Credentials are never part of it. */
export interface S3Location {
  readonly bucket: string;
  /** Before every key, without slashes at its ends; empty: none. */
  readonly prefix: string;
  /** null: AWS_REGION or the profile's. */
  readonly region: string | null;
  /** null: AWS_ENDPOINT_URL_S3, or Amazon's. */
  readonly endpoint: string | null;
  readonly pathStyle: boolean;
}

export type StoreLocation = ({ readonly kind: 's3' } & S3Location) | { readonly kind: 'folder'; readonly path: string };

const PARAMETERS = ['region', 'endpoint', 'pathStyle'] as const;
const FIX = 'Write s3://bucket/prefix?region=…&endpoint=https://…&pathStyle=true, or file:///a/shared/folder.';

/**
 * Reads `s3://bucket/prefix?region=…&endpoint=…&pathStyle=true` or `file:///folder`. Throws InvalidInput, also for
 * credentials in the URL: URLs are shown and logged.
 */
export function parseStoreUrl(url: string): StoreLocation {
  const parsed = URL.canParse(url) ? new URL(url) : null;
  if (parsed?.protocol === 'file:') return { kind: 'folder', path: fileURLToPath(parsed) };
  if (parsed?.protocol !== 's3:' || parsed.hostname === '') throw wrong('this is no URL of a store', shown(url));
  if (parsed.username !== '' || parsed.password !== '') {
    throw wrong('credentials do not belong in the URL: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY', shown(url));
  }
  refuseUnknown(parsed);
  const endpoint = parsed.searchParams.get('endpoint');
  if (endpoint !== null && !/^https?:\/\/[^/@\s]+/.test(endpoint))
    throw wrong('the endpoint is no http(s) URL', shown(url));
  const prefix = decodeURIComponent(parsed.pathname).replace(/^\/+|\/+$/g, '');
  if (prefix.split('/').some((part) => part === '.' || part === '..'))
    throw wrong('the prefix leads elsewhere', shown(url));
  const pathStyle = parsed.searchParams.get('pathStyle');
  return {
    kind: 's3',
    bucket: parsed.hostname,
    prefix,
    region: parsed.searchParams.get('region'),
    endpoint,
    // Servers of one's own have no name for every bucket.
    pathStyle: pathStyle === null ? endpoint !== null : pathStyle === 'true',
  };
}

function refuseUnknown(url: URL): void {
  for (const name of url.searchParams.keys()) {
    if (PARAMETERS.some((known) => known === name)) continue;
    const nearest = nearestName(name, PARAMETERS);
    throw wrong(`unknown setting ${name}${nearest === undefined ? '' : `, did you mean ${nearest}?`}`, 'store.url');
  }
}

/** Without whatever stands before an @, as names and passwords do. */
function shown(url: string): string {
  return url.replace(/\/\/[^/]*@/, '//…@');
}

function wrong(what: string, where: string): NibbleflowError {
  return new NibbleflowError('InvalidInput', `the store cannot be used: ${what}`, { where, fix: FIX });
}
