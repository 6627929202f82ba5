import { setTimeout as sleep } from 'node:timers/promises';
import type { WorkflowHandle } from '@temporalio/client';
import type { ExitCode } from '../contracts/errors.js';
import { findRun, withServer } from './command-context.js';
import { type OutputFormat, print, say } from './console-output.js';
import { historyLines } from './history-lines.js';
import { type LogLine, logText, mergedLines } from './log-line.js';
import { RunLogReader } from './read-run-log.js';
import { untilInterrupted } from './until-interrupted.js';

const POLL_MS = 1_000;

/** Prints the log of a run's latest execution; with `follow` until it ends. Ctrl-C stops following, never the run. */
export async function showLogs(id: string, follow: boolean, format: OutputFormat): Promise<ExitCode> {
  return withServer(async ({ client, loaded }) => {
    const handle = await findRun(client, id);
    const { runId, status } = await handle.describe();
    const source = new LogSource(client.workflow.getHandle(handle.workflowId, runId), runId, loaded.stateDir);
    const lines = await source.next();
    if (!follow || status.name !== 'RUNNING') {
      show(lines, format);
      return 0 as const;
    }
    for (const line of lines) showLine(line, format);
    return untilInterrupted((signal) => followLines(source, format, signal));
  });
}

async function followLines(source: LogSource, format: OutputFormat, signal: AbortSignal): Promise<ExitCode> {
  while (!signal.aborted) {
    // Looked at before the lines are read, so that none of an ended run is missed.
    const isRunning = await source.isRunning();
    for (const line of await source.next()) showLine(line, format);
    if (!isRunning) return 0;
    await sleep(POLL_MS, undefined, { signal }).catch(() => undefined);
  }
  say(`Stopped following; the run goes on.`);
  return 130;
}

/** Lines of both sources that were not given yet. */
class LogSource {
  private readonly reader: RunLogReader;
  private readonly worker: LogLine[] = [];
  private readonly given = new Set<string>();
  private length = 0;
  private server: LogLine[] = [];

  constructor(
    private readonly handle: WorkflowHandle,
    private readonly runId: string,
    stateDir: string,
  ) {
    this.reader = new RunLogReader(stateDir, handle.workflowId, runId);
  }

  async isRunning(): Promise<boolean> {
    return (await this.handle.describe()).status.name === 'RUNNING';
  }

  async next(): Promise<LogLine[]> {
    this.worker.push(...(await this.reader.next()));
    const { historyLength } = await this.handle.describe();
    if (historyLength !== this.length) {
      const { events } = await this.handle.fetchHistory();
      this.length = historyLength;
      this.server = historyLines(events ?? [], this.handle.workflowId, this.runId);
    }
    return mergedLines(this.worker, this.server).filter((line) => {
      const name = JSON.stringify(line);
      if (this.given.has(name)) return false;
      this.given.add(name);
      return true;
    });
  }
}

function show(lines: readonly LogLine[], format: OutputFormat): void {
  if (format === 'json') print(JSON.stringify({ schemaVersion: 1, lines }, null, 2));
  else for (const line of lines) showLine(line, format);
}

/** While a run is followed there is no end to close a document at: `json` is lines, too. */
function showLine(line: LogLine, format: OutputFormat): void {
  print(format === 'text' ? logText(line) : JSON.stringify({ schemaVersion: 1, ...line }));
}
