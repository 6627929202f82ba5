import { describe, expect, it } from 'vitest';
import { LineView } from '../../cli/line-view.js';
import { progressLine } from '../../cli/progress-line.js';
import type { ActivityNow, RunSnapshot } from '../../cli/run-snapshot.js';
import { activityLine, runTable } from '../../cli/run-table.js';
import type { RunProgress, StageRow } from '../../contracts/run-summary.js';
import type { Progress } from '../../contracts/stages.js';

const row = (
  id: 'sample' | 'finetune' | 'report',
  state: StageRow['state'],
  more: Partial<StageRow> = {},
): StageRow => ({
  ...{ id, stage: id, title: `do ${id}`, state, summary: '', seconds: 0 },
  ...more,
});
const INSIDE: Progress = {
  ...{ stage: 'finetune', done: 12, total: 45, unit: 'steps', rate: 1.5, etaSeconds: 22, note: 'loss 0.3' },
  ...{ resumedAt: 10, checkpoint: null },
};
const ACTIVITY: ActivityNow = {
  ...{ activityId: '7', type: 'finetuneParameters', isRunning: true, attempt: 2, worker: '4711@box' },
  ...{ progress: INSIDE, failure: { kind: 'EngineCrashed', message: 'signal SIGKILL\nmore' } },
};
const progress = (state: StageRow['state'], pausedSince: string | null = null): RunProgress => ({
  ...{ schemaVersion: 1, done: 1, total: 3, pausedSince },
  stages: [
    row('sample', 'done', { seconds: 3.2, summary: '4 trajectories' }),
    row('finetune', state),
    row('report', 'pending'),
  ],
});
const snapshot = (change: Partial<RunSnapshot>): RunSnapshot => ({
  ...{ workflowId: 'quantize/tiny/w4a4/1', runId: 'r', state: 'running', startedAt: new Date(1_000), endedAt: null },
  ...{ historyLength: 9, progress: progress('running'), activities: [ACTIVITY] },
  ...change,
});

describe('the table of a run', () => {
  it('tells progress, rate, remaining time, attempts with their reason, and who runs it, under the stage that runs', () => {
    expect(runTable(snapshot({}), 66_000)).toEqual([
      'quantize/tiny/w4a4/1  running  1 of 3 stages  1 min 5 s',
      '✓ do sample    3 s · 4 trajectories',
      '▶ do finetune',
      '    finetuneParameters · 12/45 steps · 1.5 steps/s · ETA 22 s · went on from 10 · loss 0.3 · attempt 2 · last failure EngineCrashed: signal SIGKILL · on 4711@box',
      '  do report',
    ]);
  });

  it('says that a run is paused, since when, and at which stage', () => {
    const paused = { state: 'paused', progress: progress('paused', '2026-11-25T10:20:30.000Z'), activities: [] };
    const lines = runTable(snapshot(paused), 2_000);
    expect(lines[0]).toBe('quantize/tiny/w4a4/1  paused  1 of 3 stages  1 s, since 10:20:30 UTC');
    expect(lines[2]).toBe('⏸ do finetune  paused');
    expect(progressLine(progress('paused'), null)).toBe('stage 2 of 3: do finetune · paused');
  });

  it('tells an activity that waits from one that is to be tried again', () => {
    const waiting = { ...ACTIVITY, isRunning: false, attempt: 1, worker: null, failure: null };
    expect(activityLine(waiting)).toBe('finetuneParameters · waits for a worker');
    expect(activityLine({ ...waiting, attempt: 3 })).toBe('finetuneParameters · waits to be tried again · attempt 3');
  });

  it('counts time to the end of a run that has ended, and says when no worker has answered', () => {
    const ended = snapshot({ state: 'completed', endedAt: new Date(3_000) });
    expect(runTable(ended, 99_000)[0]).toContain('completed  1 of 3 stages  2 s');
    expect(runTable(snapshot({ progress: undefined }), 2_000)).toEqual([
      'quantize/tiny/w4a4/1  running  1 s; no worker has answered yet',
    ]);
  });

  it('without a terminal keeps one line for each stage that ended', () => {
    const said: string[] = [];
    const write = process.stderr.write.bind(process.stderr);
    process.stderr.write = ((text: string) => said.push(text) > 0) as typeof process.stderr.write;
    try {
      const view = new LineView();
      view.show(snapshot({}));
      view.finish([
        row('sample', 'done', { seconds: 3.2 }),
        row('finetune', 'reused'),
        row('report', 'done', { seconds: 1 }),
      ]);
    } finally {
      process.stderr.write = write;
    }
    expect(said.filter((line) => line.startsWith('✓'))).toEqual([
      '✓ do sample · 3.2 s · 4 trajectories\n',
      '✓ do finetune · reused\n',
      '✓ do report · 1.0 s\n',
    ]);
  });
});
