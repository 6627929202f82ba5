import type { ExitCode } from '../contracts/errors.js';
import { SAME_PRESS_MS } from './stop-watching.js';

const SIGNALS = ['SIGINT', 'SIGTERM'] as const;

/**
 * Runs work that Ctrl-C or SIGTERM ends: the first aborts its signal and waits until it has cleaned up, the second ends the
 * process at once. Returns what the work returns, or 130. Throws what the work throws unless it was interrupted.
 */
export async function untilInterrupted(work: (signal: AbortSignal) => Promise<ExitCode>): Promise<ExitCode> {
  const abort = new AbortController();
  const interrupt = (): void => {
    abort.abort();
    setTimeout(stopListening, SAME_PRESS_MS).unref();
  };
  const stopListening = (): void => {
    for (const name of SIGNALS) process.off(name, interrupt);
  };
  for (const name of SIGNALS) process.on(name, interrupt);
  try {
    const code = await work(abort.signal);
    return abort.signal.aborted ? 130 : code;
  } catch (error) {
    if (abort.signal.aborted) return 130;
    throw error;
  } finally {
    stopListening();
  }
}
