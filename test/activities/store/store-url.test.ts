import { describe, expect, it } from 'vitest';
import { parseStoreUrl } from '../../../activities/store/store-url.js';

const refusal = (url: string): string => {
  try {
    parseStoreUrl(url);
  } catch (error) {
    expect(error).toMatchObject({ kind: 'InvalidInput' });
    return (error as Error).message;
  }
  throw new Error(`${url} was not refused`);
};

describe('the URL of a store', () => {
  it('names a bucket, a prefix, and how it is reached', () => {
    expect(parseStoreUrl('s3://models/team/a/?region=eu-central-1')).toEqual({
      kind: 's3',
      bucket: 'models',
      prefix: 'team/a',
      region: 'eu-central-1',
      endpoint: null,
      pathStyle: false,
    });
    const own = parseStoreUrl('s3://models?endpoint=http%3A%2F%2F10.0.0.1%3A9000');
    expect(own).toMatchObject({ prefix: '', endpoint: 'http://10.0.0.1:9000', pathStyle: true, region: null });
    expect(parseStoreUrl('s3://models?endpoint=https://s3.example&pathStyle=false')).toMatchObject({
      pathStyle: false,
    });
  });

  it('names a folder', () => {
    expect(parseStoreUrl('file:///mnt/shared/store')).toEqual({ kind: 'folder', path: '/mnt/shared/store' });
  });

  it('holds no credentials, and a refusal does not repeat them', () => {
    const message = refusal('s3://AKIAKEY:verysecret@models');
    expect(message).toContain('AWS_ACCESS_KEY_ID');
    expect(message).not.toMatch(/AKIAKEY|verysecret/);
    expect(refusal('https://AKIAKEY:verysecret@models')).not.toMatch(/AKIAKEY|verysecret/);
  });

  it('is refused with the nearest setting, for other protocols, and when it leads elsewhere', () => {
    expect(refusal('s3://models?endpiont=http://x')).toContain('did you mean endpoint?');
    expect(refusal('models/prefix')).toContain('s3://bucket/prefix');
    expect(refusal('s3://models/a%2F..%2Fb')).toBeDefined();
    expect(refusal('s3://models?endpoint=ftp://x')).toContain('endpoint');
  });
});
