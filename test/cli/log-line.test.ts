import { appendFile, mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { RunLogs, runLogFolder, runLogName } from '../../activities/run-log.js';
import { type LogLine, logText, mergedLines } from '../../cli/log-line.js';
import { RunLogReader } from '../../cli/read-run-log.js';

const line = (source: LogLine['source'], time: string, event: string, more: Partial<LogLine> = {}): LogLine => ({
  ...{
    source,
    time: `2026-11-25T10:00:${time}.000Z`,
    event,
    level: 'info',
    msg: `${source} ${event}`,
    run: 'w',
    runId: 'r',
  },
  ...more,
});

describe('the lines of a run', () => {
  it('are those of the workers; the server fills in what no worker of this machine wrote', () => {
    const here = { activityId: '1', attempt: 1 };
    const worker = [line('worker', '01', 'stage-started', here), line('worker', '03', 'stage-finished', here)];
    const server = [
      line('server', '00', 'run-started'),
      line('server', '01', 'stage-started', here),
      line('server', '04', 'stage-finished', here),
      line('server', '02', 'heartbeat-lost', here),
      line('server', '05', 'stage-finished', { activityId: '2' }),
    ];
    expect(mergedLines(worker, server).map(({ msg }) => msg)).toEqual([
      'server run-started',
      'worker stage-started',
      'server heartbeat-lost',
      'worker stage-finished',
      'server stage-finished',
    ]);
  });

  it('are told for people with the attempt, when there is more than one, and a sign for what is wrong', () => {
    const failed = line('worker', '01', 'stage-failed', { level: 'error', stage: 'finetune', attempt: 2, host: 'box' });
    expect(logText(failed)).toBe('2026-11-25 10:00:01Z ✗ box  finetune (attempt 2): worker stage-failed');
    expect(logText(line('server', '01', 'run-started'))).toBe('2026-11-25 10:00:01Z   server  server run-started');
  });
});

describe('reading a run log', () => {
  let stateDir: string;
  const owner = { run: 'quantize/tiny/w4a4/1', stage: 'sample', activityId: '3', attempt: 1 };
  const file = () => join(runLogFolder(stateDir), runLogName(owner.run));
  const write = (runId: string, message: string) =>
    new RunLogs(runLogFolder(stateDir)).open({ ...owner, runId }).info('stage-started', message);

  beforeEach(async () => {
    stateDir = await mkdtemp(join(tmpdir(), 'nibbleflow-logs-'));
  });
  afterEach(() => rm(stateDir, { recursive: true, force: true }));

  it('gives each line once, of this execution alone, also over a change of files', async () => {
    const reader = new RunLogReader(stateDir, owner.run, 'now');
    expect(await reader.next()).toEqual([]);
    write('before', 'old');
    write('now', 'one');
    expect((await reader.next()).map(({ msg }) => msg)).toEqual(['one']);
    await rename(file(), file().replace(/\.jsonl$/, '.1.jsonl'));
    write('now', 'two');
    expect(await reader.next()).toMatchObject([
      { msg: 'two', source: 'worker', event: 'stage-started', stage: 'sample' },
    ]);
    expect(await reader.next()).toEqual([]);
  });

  it('waits for the end of a line, and passes over what is none', async () => {
    const reader = new RunLogReader(stateDir, owner.run, 'now');
    await mkdir(dirname(file()), { recursive: true });
    write('now', 'one');
    await appendFile(file(), 'no JSON\n{"time":"2026-11-25T10:00:00.000Z","level":"info",');
    expect((await reader.next()).map(({ msg }) => msg)).toEqual(['one']);
    await appendFile(file(), '"event":"warning","msg":"two","run":"w","runId":"now"}\n');
    expect((await reader.next()).map(({ msg }) => msg)).toEqual(['two']);
  });
});
