import { spawn } from 'node:child_process';
import { NibbleflowError } from '../../contracts/errors.js';

/** A command that takes longer is ended. */
const TIMEOUT_MS = 60_000;
const KEPT_CHARACTERS = 300;

/**
 * Runs a program without a shell, gives it a text on stdin, and waits for it.
 * @throws NibbleflowError InvalidInput when it cannot be started, ServerUnavailable when it fails (another try may help)
 */
export function runWithInput(command: readonly string[], input: string, cancelled: AbortSignal): Promise<string> {
  const [program = '', ...args] = command;
  return new Promise((resolve, reject) => {
    const signal = AbortSignal.any([cancelled, AbortSignal.timeout(TIMEOUT_MS)]);
    const child = spawn(program, args, { stdio: ['pipe', 'ignore', 'pipe'], signal, killSignal: 'SIGKILL' });
    let said = '';
    child.stderr.on('data', (chunk: Buffer) => {
      said = `${said}${chunk.toString()}`.slice(-KEPT_CHARACTERS);
    });
    // A program that does not read its input is no failure.
    child.stdin.on('error', () => undefined);
    child.stdin.end(input);
    child.once('error', (error: NodeJS.ErrnoException) => {
      const late = signal.aborted;
      const what = late
        ? `took longer than ${TIMEOUT_MS / 1000} s`
        : `cannot be started: ${error.code ?? error.message}`;
      reject(failure(late ? 'ServerUnavailable' : 'InvalidInput', what, program));
    });
    child.once('close', (code, by) => {
      if (code === 0) resolve('command ended with 0');
      else reject(failure('ServerUnavailable', `ended with ${code ?? by}: ${said.trim()}`, program));
    });
  });
}

function failure(kind: 'ServerUnavailable' | 'InvalidInput', what: string, where: string): NibbleflowError {
  return new NibbleflowError(kind, `the command of notify ${what}`, { where });
}
