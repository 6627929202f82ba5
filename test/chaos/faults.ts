import { existsSync, readdirSync, rmSync, statSync, truncateSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import type { ProcessRef } from '../../cli/server/processes.js';
import { isRunning } from '../../cli/server/processes.js';
import type { CliHome } from '../e2e/cli-home.js';

/** Something that goes wrong. */
export interface Fault {
  readonly name: string;
  /**
   * Makes it happen; `pick(n)` chooses one of n. False when there is nothing that it could happen to just now.
   */
  inflict(home: CliHome, pick: (count: number) => number): boolean | Promise<boolean>;
  /** A run that needs what was damaged may end and be started again: its finished stages are kept. */
  readonly mayEndRun: boolean;
}

function kill(signal: NodeJS.Signals, victim: (home: CliHome) => ProcessRef | null | undefined): Fault['inflict'] {
  return (home) => {
    const ref = victim(home);
    if (!ref || !isRunning(ref)) return false;
    process.kill(ref.pid, signal);
    return true;
  };
}

/** Files of a folder of the store, sorted: the same choice for the same pick. */
function filesOf(home: CliHome, folder: string): string[] {
  const root = join(home.home, 'store', folder);
  if (!existsSync(root)) return [];
  return readdirSync(root, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !entry.name.startsWith('.') && !entry.name.endsWith('.tmp'))
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}

function damage(
  folder: string,
  how: (path: string, pick: (count: number) => number) => void | Promise<void>,
): Fault['inflict'] {
  return async (home, pick) => {
    const files = filesOf(home, folder);
    const path = files[pick(Math.max(1, files.length))];
    if (path === undefined) return false;
    try {
      await how(path, pick);
      return true;
    } catch (error) {
      // The file went away between the look and the blow.
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false;
      throw error;
    }
  };
}

function tear(path: string, pick: (count: number) => number): void {
  truncateSync(path, pick(Math.max(1, statSync(path).size)));
}

async function flipByte(path: string, pick: (count: number) => number): Promise<void> {
  const file = await open(path, 'r+');
  try {
    const { size } = await file.stat();
    if (size === 0) return;
    const at = pick(size);
    const byte = Buffer.alloc(1);
    await file.read(byte, 0, 1, at);
    await file.write(Buffer.from([(byte[0] ?? 0) ^ 0xff]), 0, 1, at);
  } finally {
    await file.close();
  }
}

/** Everything that is tried. */
export const FAULTS: readonly Fault[] = [
  { name: 'kill -9 of the worker', inflict: kill('SIGKILL', (home) => home.record().worker), mayEndRun: false },
  { name: 'SIGTERM to the worker', inflict: kill('SIGTERM', (home) => home.record().worker), mayEndRun: false },
  { name: 'kill -9 of an engine child', inflict: kill('SIGKILL', (home) => home.engines()[0]), mayEndRun: false },
  { name: 'kill -9 of the server', inflict: kill('SIGKILL', (home) => home.record().server), mayEndRun: false },
  { name: 'a torn checkpoint file', inflict: damage('checkpoints', tear), mayEndRun: false },
  { name: 'a flipped byte in a checkpoint', inflict: damage('checkpoints', flipByte), mayEndRun: false },
  { name: 'a torn result file', inflict: damage('results', tear), mayEndRun: false },
  { name: 'a flipped byte in an artifact', inflict: damage('objects', flipByte), mayEndRun: true },
  { name: 'a torn artifact', inflict: damage('objects', tear), mayEndRun: true },
  { name: 'a deleted artifact', inflict: damage('objects', (path) => rmSync(path)), mayEndRun: true },
];
