import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { digestFolder } from '../../activities/store/folder-digest.js';
import { findFloatPipeline } from '../../cli/find-float-pipeline.js';
import { packageRoot } from '../../cli/package-root.js';

const ZOO_PIPELINE = join(packageRoot(), 'models', 'zoo', 'emoji-t2i');
const madeFrom = (digest: string) => ({ generator: 'nibbleflow', input: { pipeline: 'emoji-t2i', digest } }) as const;

describe('the float pipeline a folder was made from', () => {
  it('is the bundled one with the digest in the manifest', async () => {
    const { digest } = await digestFolder(ZOO_PIPELINE);
    expect(await findFloatPipeline(madeFrom(digest))).toBe(ZOO_PIPELINE);
  });

  it('is not guessed from a name', async () => {
    expect(await findFloatPipeline(madeFrom('0'.repeat(64)))).toBeUndefined();
    expect(await findFloatPipeline({ generator: 'nibbleflow' })).toBeUndefined();
    expect(await findFloatPipeline(null)).toBeUndefined();
  });
});
