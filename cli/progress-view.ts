import { clearLine, cursorTo } from 'node:readline';
import { printable, say } from './console-output.js';

/** Without a terminal, a line this often; more often when the stage changes. */
const PLAIN_INTERVAL_MS = 10_000;

/** Shows progress on stderr: one rewritten line on a terminal, plain lines elsewhere. */
export class ProgressView {
  private readonly terminal = process.stderr.isTTY === true;
  private lastPlainAt = 0;
  private lastStage = '';

  /** `stage` identifies what runs: a change of it is always shown. */
  show(text: string, stage: string): void {
    const line = printable(text);
    if (this.terminal) {
      const width = Math.max(20, process.stderr.columns ?? 80);
      cursorTo(process.stderr, 0);
      clearLine(process.stderr, 0);
      process.stderr.write(line.length < width ? line : `${line.slice(0, width - 2)}…`);
      return;
    }
    const now = Date.now();
    if (stage === this.lastStage && now - this.lastPlainAt < PLAIN_INTERVAL_MS) return;
    this.lastStage = stage;
    this.lastPlainAt = now;
    say(line);
  }

  /** A line that stays, above the progress. */
  keep(line: string): void {
    this.clear();
    say(line);
  }

  clear(): void {
    if (!this.terminal) return;
    cursorTo(process.stderr, 0);
    clearLine(process.stderr, 0);
  }
}
