import type { StageRow } from '../contracts/run-summary.js';
import type { RunSnapshot } from './run-snapshot.js';

/** How a run that is watched is shown on stderr. */
export interface RunView {
  show(snapshot: RunSnapshot): void;
  /** The stages of a run that has succeeded. */
  finish(stages: readonly StageRow[]): void;
  /** A line that stays. */
  keep(line: string): void;
  /** Leaves the terminal as it should be when nothing more is shown. */
  close(): void;
}
