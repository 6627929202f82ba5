import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';

/** A file system of limited size in memory, mounted on a folder. Needs the right to mount. */
export class SizeLimitedDisk {
  private constructor(readonly folder: string) {}

  /** null, with one loud line, where nothing may be mounted. */
  static mount(folder: string, bytes: number): SizeLimitedDisk | null {
    mkdirSync(folder, { recursive: true });
    const problem = command('mount', ['-t', 'tmpfs', '-o', `size=${bytes}`, 'tmpfs', folder]);
    if (problem === null) return new SizeLimitedDisk(folder);
    process.stderr.write(`SKIPPED, NOT TESTED: full disks need the right to mount a tmpfs: ${problem}\n`);
    return null;
  }

  resize(bytes: number): void {
    const problem = command('mount', ['-o', `remount,size=${bytes}`, this.folder]);
    if (problem !== null) throw new Error(problem);
  }

  unmount(): void {
    const problem = command('umount', ['--lazy', this.folder]);
    if (problem !== null) throw new Error(problem);
  }
}

/** null when it worked, else what it said. */
function command(name: string, args: string[]): string | null {
  const { status, error, stderr } = spawnSync(name, args, { encoding: 'utf8' });
  return status === 0 ? null : (error?.message ?? stderr.trim());
}
