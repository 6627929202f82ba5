import { clearScreenDown, cursorTo, moveCursor } from 'node:readline';
import type { StageRow } from '../contracts/run-summary.js';
import type { RunSnapshot } from './run-snapshot.js';
import { runTable } from './run-table.js';
import type { RunView } from './run-view.js';

/** The whole run, redrawn on a terminal. */
export class TableView implements RunView {
  private lines = 0;
  private last: RunSnapshot | undefined;

  constructor(private readonly terminal: NodeJS.WriteStream) {}

  show(snapshot: RunSnapshot): void {
    this.last = snapshot;
    this.erase();
    // A line that wraps, or a table higher than the terminal, could not be erased again.
    const width = Math.max(20, this.terminal.columns ?? 80) - 1;
    const height = Math.max(5, this.terminal.rows ?? 24) - 1;
    const lines = runTable(snapshot, Date.now()).slice(0, height);
    for (const line of lines) this.terminal.write(`${line.length <= width ? line : `${line.slice(0, width - 1)}…`}\n`);
    this.lines = lines.length;
  }

  finish(stages: readonly StageRow[]): void {
    if (this.last?.progress === undefined) return;
    const ended = stages.filter(({ state }) => state !== 'pending').length;
    const progress = { ...this.last.progress, stages, done: ended };
    this.show({ ...this.last, state: 'completed', progress, activities: [], endedAt: new Date() });
    this.lines = 0;
  }

  keep(line: string): void {
    this.terminal.write(`${line}\n`);
    this.lines = 0;
  }

  close(): void {
    this.lines = 0;
  }

  private erase(): void {
    if (this.lines === 0) return;
    moveCursor(this.terminal, 0, -this.lines);
    cursorTo(this.terminal, 0);
    clearScreenDown(this.terminal);
  }
}
