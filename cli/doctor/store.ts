import { randomUUID } from 'node:crypto';
import { statSync } from 'node:fs';
import { type Bucket, collect } from '../../activities/store/bucket.js';
import { FolderBucket } from '../../activities/store/folder-bucket.js';
import { openBucket } from '../../activities/store/open-bucket.js';
import { checkpointKey } from '../../activities/store/store-keys.js';
import { NibbleflowError } from '../../contracts/errors.js';
import { RunFolder } from '../server/service-record.js';
import { type Check, type DoctorLine, ok } from './check.js';
import { firstSentence } from './first-sentence.js';

/** Bits of a mode that let others than the owner read or write. */
const OTHERS = 0o077;

/** The state folder is its owner's; bytes can be written to the stores, read back and deleted. */
export const store: Check = {
  name: 'store',
  run: async ({ loaded }) => {
    new RunFolder(loaded.stateDir).prepare();
    const lines = [stateFolderLine(loaded.stateDir), await storeLine(new FolderBucket(loaded.storeDir))];
    return loaded.storeUrl === null ? lines : [...lines, await sharedLine(loaded.storeUrl)];
  },
};

function stateFolderLine(folder: string): Omit<DoctorLine, 'check'> {
  const open = process.platform !== 'win32' && (statSync(folder).mode & OTHERS) !== 0;
  if (!open) return ok(`state folder ${folder}, for its owner alone`);
  const what = `others on this machine may look into the state folder ${folder}: prompts, logs, run histories`;
  return { state: 'warning', what, fix: `chmod 700 ${folder}` };
}

/** @param url of the shared store; a URL that cannot be used is a failed line too */
async function sharedLine(url: string): Promise<Omit<DoctorLine, 'check'>> {
  try {
    return await storeLine(await openBucket(url));
  } catch (error) {
    return failed('the shared store', error);
  }
}

async function storeLine(bucket: Bucket): Promise<Omit<DoctorLine, 'check'>> {
  const key = checkpointKey(`doctor-${randomUUID()}`);
  const bytes = new TextEncoder().encode(key);
  try {
    await bucket.check();
    await bucket.put(key, [bytes]);
    try {
      const stored = await bucket.read(key);
      const back = stored === null ? null : await collect(stored);
      if (back === null || !Buffer.from(back).equals(bytes)) throw new Error('what was written does not come back');
    } finally {
      await bucket.delete(key);
    }
    if ((await bucket.head(key)) !== null) throw new Error('what was deleted is still there');
    return ok(`${bucket.url}: written, read back, deleted`);
  } catch (error) {
    return failed(bucket.url, error);
  }
}

function failed(where: string, error: unknown): Omit<DoctorLine, 'check'> {
  const fix = error instanceof NibbleflowError ? error.fix : undefined;
  const first = fix?.split('\n')[0];
  return {
    state: 'failed',
    what: `${where}: ${firstSentence(error)}`,
    fix: first ?? 'nibbleflow config show --origin',
  };
}
