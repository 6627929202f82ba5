import { appendFileSync, mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { redactSecrets } from '../../activities/redact-secrets.js';
import { RunLogs, runLogFiles, runLogFolder, runLogName } from '../../activities/run-log.js';

let stateDir: string;
beforeEach(() => {
  stateDir = mkdtempSync(join(tmpdir(), 'nibbleflow-logs-'));
});
afterEach(() => rmSync(stateDir, { recursive: true, force: true }));

const owner = { run: 'quantize/unet w4a4', runId: 'r', stage: 'sample', activityId: '3', attempt: 2 };

const linesOf = (file: string | undefined): Record<string, unknown>[] =>
  readFileSync(file ?? '', 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);

describe('the log of a run', () => {
  it('has one file per run and says in every line whose it is, when and what', () => {
    const logs = new RunLogs(runLogFolder(stateDir));
    logs.open(owner).info('stage-finished', 'sampled', { seconds: 3 });
    logs.open({ ...owner, run: 'another' }).warn('warning', 'other');
    const files = runLogFiles(stateDir, owner.run);
    expect(files).toHaveLength(1);
    const [line] = linesOf(files[0]);
    expect(line).toMatchObject({ ...owner, level: 'info', event: 'stage-finished', msg: 'sampled', seconds: 3 });
    expect(Number.isNaN(Date.parse(String(line?.time)))).toBe(false);
    expect(line?.host).toBeTruthy();
    expect(linesOf(runLogFiles(stateDir, 'another')[0])).toMatchObject([{ level: 'warn', msg: 'other' }]);
  });

  it('names files that cannot leave the folder and never fall together', () => {
    const names = ['../../etc/passwd', 'a/b', 'a_b', 'a:b', '.hidden', 'run.1', 'run', 'x'.repeat(400)].map(runLogName);
    expect(new Set(names).size).toBe(names.length);
    for (const name of names) expect(name).toMatch(/^[A-Za-z0-9_-][A-Za-z0-9._-]{0,150}\.jsonl$/);
    expect(runLogName('evaluate-emoji-0a1b2c3d')).toBe('evaluate-emoji-0a1b2c3d.jsonl');
  });

  it('stays within its bounds and keeps the latest lines', () => {
    const logs = new RunLogs(runLogFolder(stateDir), { maxBytes: 2_000 });
    const log = logs.open(owner);
    for (let i = 0; i < 100; i += 1) log.info('checkpoint-written', `step ${i}`);
    const files = runLogFiles(stateDir, owner.run);
    const text = files.map((file) => readFileSync(file, 'utf8')).join('');
    expect(files).toHaveLength(2);
    expect(text.length).toBeLessThanOrEqual(4_000);
    expect(linesOf(files[1]).at(-1)?.msg).toBe('step 99');
  });

  it('keeps no secrets of the environment', () => {
    const env = { STORE_SECRET_ACCESS_KEY: 'hush"hush-hush', TEMPORAL_ADDRESS: 'localhost:7233' };
    const text = JSON.stringify({
      a: 'hush"hush-hush',
      b: 'https://me:pw@host/x',
      c: 'Bearer abcdefgh1234',
      d: 'localhost:7233',
    });
    expect(JSON.parse(redactSecrets(text, env))).toEqual({
      a: '[redacted]',
      b: 'https://[redacted]@host/x',
      c: 'Bearer [redacted]',
      d: 'localhost:7233',
    });
  });

  it('deletes logs of long ago alone, and a log that cannot be written fails nobody', () => {
    const logs = new RunLogs(runLogFolder(stateDir));
    logs.open(owner).info('warning', 'old');
    logs.open({ ...owner, run: 'new' }).info('warning', 'new');
    const [old] = runLogFiles(stateDir, owner.run);
    utimesSync(old ?? '', 1, 1);
    logs.removeOld(Date.now());
    expect([runLogFiles(stateDir, owner.run), runLogFiles(stateDir, 'new')].map((files) => files.length)).toEqual([
      0, 1,
    ]);
    writeFileSync(join(stateDir, 'file'), '');
    new RunLogs(join(stateDir, 'file')).open(owner).info('warning', 'nowhere');
    appendFileSync(join(stateDir, 'file'), 'x');
  });
});
