import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { evaluationExtractor, extractorKey, storeExtractor } from '../../activities/evaluation-extractor.js';
import { findExtractor } from '../../activities/extractor-folder.js';
import { packageFile } from '../../activities/package-file.js';
import { FolderBucket } from '../../activities/store/folder-bucket.js';
import { LocalStore } from '../../activities/store/local-store.js';

let root: string;
/** The user's own extractor, in a folder of one host. */
let folder: string;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'nibbleflow-extractor-'));
  folder = join(root, 'mine');
  await cp(packageFile('models/zoo/cifar10-resnet'), folder, { recursive: true });
});
afterEach(() => rm(root, { recursive: true, force: true }));

describe('the extractor of an evaluation', () => {
  it('comes from the shared store on a host that does not have its folder', async () => {
    const bucket = new FolderBucket(join(root, 'shared'));
    const found = await findExtractor(folder, root);
    const wanted = await storeExtractor(await LocalStore.open(join(root, 'here'), bucket), found);
    await rm(folder, { recursive: true });
    const there = await LocalStore.open(join(root, 'there'), bucket);
    const other = await evaluationExtractor(wanted, there);
    expect(other).toMatchObject({ spec: found.spec, sha256: found.sha256 });
    expect(other.modelPath.startsWith(there.folder)).toBe(true);
    const alone = await storeExtractor(await LocalStore.open(join(root, 'alone')), { ...found, origin: 'bundled' });
    expect(extractorKey(alone)).toEqual(extractorKey(wanted));
  });

  it('comes from the package where it is a bundled one, wherever that lies', async () => {
    const store = await LocalStore.open(join(root, 'here'), new FolderBucket(join(root, 'shared')));
    const wanted = await storeExtractor(store, await findExtractor('cifar10-resnet', root));
    expect(wanted.files).toBeNull();
    const found = await evaluationExtractor({ ...wanted, folder: '/a/package/of/another/host' }, store);
    expect(found.origin).toBe('bundled');
  });
});
