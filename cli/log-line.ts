/** One line of a run's log: written by a worker, or told by the server's history. */
export interface LogLine {
  /** ISO 8601. */
  readonly time: string;
  readonly level: 'info' | 'warn' | 'error';
  readonly source: 'worker' | 'server';
  readonly event: string;
  readonly msg: string;
  /** Workflow id. */
  readonly run: string;
  readonly runId: string;
  readonly stage?: string;
  readonly activityId?: string;
  readonly attempt?: number;
  readonly host?: string;
}

/** Events that both tell: the worker's line says more. */
const TOLD_TWICE: ReadonlySet<string> = new Set([
  'stage-started',
  'stage-reused',
  'stage-finished',
  'stage-failed',
  'stage-stopped',
]);

/** Both kinds by time; what a worker on another machine did is told by the server alone. */
export function mergedLines(worker: readonly LogLine[], server: readonly LogLine[]): LogLine[] {
  const told = new Set(worker.map(nameOf));
  const missing = server.filter((line) => !TOLD_TWICE.has(line.event) || !told.has(nameOf(line)));
  return [...worker, ...missing].sort((a, b) => (a.time < b.time ? -1 : a.time > b.time ? 1 : 0));
}

function nameOf({ event, activityId, attempt }: LogLine): string {
  return `${event} ${activityId ?? ''} ${attempt ?? 1}`;
}

const SIGNS: Readonly<Record<LogLine['level'], string>> = { info: ' ', warn: '!', error: '✗' };

/** A line for people. */
export function logText({ time, level, stage, attempt, host, source, msg }: LogLine): string {
  const where = source === 'server' ? 'server' : (host ?? '');
  const what = [stage ?? '', attempt !== undefined && attempt > 1 ? `(attempt ${attempt})` : ''].filter(
    (text) => text !== '',
  );
  return `${time.slice(0, 19).replace('T', ' ')}Z ${SIGNS[level]} ${where}  ${what.length === 0 ? '' : `${what.join(' ')}: `}${msg}`;
}
