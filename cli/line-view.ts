import type { StageRow } from '../contracts/run-summary.js';
import { progressLine } from './progress-line.js';
import { ProgressView } from './progress-view.js';
import type { RunSnapshot } from './run-snapshot.js';
import type { RunView } from './run-view.js';

/** A line that stays for each stage that ended, and one line of progress. */
export class LineView implements RunView {
  private readonly view = new ProgressView();
  private readonly shown = new Set<string>();

  show({ progress, activities, state }: RunSnapshot): void {
    if (progress === undefined) return;
    this.finish(progress.stages);
    const running = progress.stages.find((row) => row.state === 'running' || row.state === 'paused');
    const inside = activities.find((activity) => activity.progress !== null)?.progress ?? null;
    this.view.show(progressLine(progress, inside), `${running?.id ?? ''} ${state}`);
  }

  finish(stages: readonly StageRow[]): void {
    for (const row of stages) {
      if ((row.state !== 'done' && row.state !== 'reused') || this.shown.has(row.id)) continue;
      this.shown.add(row.id);
      const time = row.state === 'reused' ? 'reused' : `${row.seconds.toFixed(1)} s`;
      this.view.keep(`✓ ${row.title} · ${time}${row.summary === '' ? '' : ` · ${row.summary}`}`);
    }
  }

  keep(line: string): void {
    this.view.keep(line);
  }

  close(): void {
    this.view.clear();
  }
}
