import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { packageRoot } from '../../cli/package-root.js';

export interface CliResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Starts the compiled command line; `wrapper` is a command that runs the command which follows it. */
export function spawnCli(
  args: readonly string[],
  env: Record<string, string> = {},
  cwd = packageRoot(),
  wrapper: readonly string[] = [],
): ChildProcess {
  const main = join(packageRoot(), 'dist', 'cli', 'main.js');
  const [command = process.execPath, ...words] = [...wrapper, process.execPath, main, ...args];
  return spawn(command, words, { cwd, env: { ...process.env, ...env } });
}

/** Runs the compiled command line so that file permissions count, also when the tests run as root. */
export function runCliWithoutPrivileges(args: readonly string[], env: Record<string, string>): Promise<CliResult> {
  const wrapper = process.getuid?.() === 0 ? ['setpriv', '--bounding-set', '-dac_override,-dac_read_search'] : [];
  return runCli(args, env, undefined, wrapper);
}

/** Runs the compiled command line to its end. */
export function runCli(
  args: readonly string[],
  env: Record<string, string> = {},
  cwd?: string,
  wrapper: readonly string[] = [],
): Promise<CliResult> {
  return new Promise((resolve, reject) => {
    const child = spawnCli(args, env, cwd, wrapper);
    let stdout = '';
    let stderr = '';
    child.stdout?.on('data', (chunk: Buffer) => {
      stdout += chunk.toString();
    });
    child.stderr?.on('data', (chunk: Buffer) => {
      stderr += chunk.toString();
    });
    child.once('error', reject);
    child.once('close', (code) => resolve({ code, stdout, stderr }));
  });
}
