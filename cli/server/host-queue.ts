import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { NibbleflowError } from '../../contracts/errors.js';

const ID_FILE = 'host-id';
const ID = /^[a-z0-9-]{1,48}$/;

/**
 * The task queue of this machine's worker alone: stages that read or write people's folders run there. Its id is kept in the
 * state folder, so that a worker which is started again takes up what waits for it. Throws OutputNotWritable.
 */
export function hostQueue(stateDir: string): string {
  return `nibbleflow-host-${savedId(stateDir) ?? newId(stateDir)}`;
}

function savedId(stateDir: string): string | undefined {
  try {
    const id = readFileSync(join(stateDir, ID_FILE), 'utf8').trim();
    return ID.test(id) ? id : undefined;
  } catch {
    return undefined;
  }
}

/** The machine's name is for people; the rest tells two state folders of one machine apart. */
function newId(stateDir: string): string {
  const name = hostname()
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '')
    .slice(0, 24);
  const id = `${name === '' ? 'host' : name}-${randomBytes(4).toString('hex')}`;
  try {
    mkdirSync(stateDir, { recursive: true });
    writeFileSync(join(stateDir, ID_FILE), `${id}\n`, { flag: 'wx' });
    return id;
  } catch (error) {
    const saved = savedId(stateDir);
    if (saved !== undefined) return saved;
    throw new NibbleflowError('OutputNotWritable', 'the id of this host cannot be kept', {
      where: join(stateDir, ID_FILE),
      fix: 'Check the permissions of the state folder, or delete the file if it is damaged.',
      cause: error,
    });
  }
}
