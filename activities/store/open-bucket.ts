import { NibbleflowError } from '../../contracts/errors.js';
import type { Bucket } from './bucket.js';
import { FolderBucket } from './folder-bucket.js';
import { S3Bucket } from './s3-bucket.js';
import { parseStoreUrl } from './store-url.js';

/**
 * The bucket behind a store URL. Nothing is asked of it yet: see Bucket.check. Throws StoreRefused for a URL that names none,
 * or when the S3 client is not installed.
 */
export async function openBucket(url: string): Promise<Bucket> {
  const location = parseStoreUrl(url);
  return location.kind === 'folder' ? new FolderBucket(location.path) : new S3Bucket(await loadSdk(), location);
}

async function loadSdk(): Promise<typeof import('@aws-sdk/client-s3')> {
  // The client warns on every start that versions to come will want a newer Node.
  process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED ??= 'true';
  try {
    return await import('@aws-sdk/client-s3');
  } catch (cause) {
    throw new NibbleflowError('StoreRefused', 'the S3 client is not installed', {
      where: 'store.url',
      fix: 'It is an optional dependency: `npm install @aws-sdk/client-s3`.',
      cause,
    });
  }
}
