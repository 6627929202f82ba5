import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { loadConfig } from '../cli/load-config.js';
import { isRunning } from '../cli/server/processes.js';
import { RunFolder } from '../cli/server/service-record.js';
import { pssBytes } from './memory/pss.js';

/**
 * Peak memory of a command and everything it starts, detached server, worker and engines included. Linux:
 * `node dist/bench/demo-memory.js npm run demo`. Every 200 ms the proportional set sizes (PSS: shared pages count once) of
 * the command's process tree and of the services of the state folder are added up. The exit code is the command's.
 */
const SAMPLE_MS = 200;
const MEGABYTE = 1024 * 1024;

interface Sample {
  readonly totalBytes: number;
  /** By what runs, such as `worker-process.js`. */
  readonly bytesByName: ReadonlyMap<string, number>;
  readonly afterSeconds: number;
}

interface ProcessRow {
  readonly pid: number;
  readonly parent: number;
}

function processTable(): ProcessRow[] {
  return readdirSync('/proc').flatMap((name) => {
    if (!/^\d+$/.test(name)) return [];
    try {
      const text = readFileSync(`/proc/${name}/stat`, 'utf8');
      const parent = Number(text.slice(text.lastIndexOf(')') + 2).split(' ')[1]);
      return [{ pid: Number(name), parent }];
    } catch {
      return [];
    }
  });
}

/** The members and all their children; processes that ended are dropped. */
function withChildren(members: ReadonlySet<number>): Set<number> {
  const table = processTable();
  const found = new Set(table.filter(({ pid }) => members.has(pid)).map(({ pid }) => pid));
  for (const pid of found) {
    for (const row of table) if (row.parent === pid) found.add(row.pid);
  }
  return found;
}

/** `child.js` of `node --flag /path/child.js`, otherwise the program's name. */
function nameOf(pid: number): string {
  try {
    const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
    const script = words.slice(1).find((word) => word.endsWith('.js'));
    return (script ?? words[0] ?? '').split('/').at(-1) ?? '';
  } catch {
    return '';
  }
}

function takeSample(members: ReadonlySet<number>, startedAt: number): Sample {
  const bytesByName = new Map<string, number>();
  for (const pid of members) {
    const name = nameOf(pid);
    bytesByName.set(name, (bytesByName.get(name) ?? 0) + pssBytes(pid));
  }
  const totalBytes = [...bytesByName.values()].reduce((sum, bytes) => sum + bytes, 0);
  return { totalBytes, bytesByName, afterSeconds: (performance.now() - startedAt) / 1000 };
}

/** Supervisors that run already, or were started by somebody else for the same state folder. */
function supervisors(runFolder: RunFolder): number[] {
  return runFolder.names().flatMap((name) => {
    const supervisor = runFolder.read(name)?.supervisor;
    return supervisor !== undefined && isRunning(supervisor) ? [supervisor.pid] : [];
  });
}

async function measure(command: string, args: readonly string[]): Promise<number> {
  const runFolder = new RunFolder((await loadConfig(process.cwd())).stateDir);
  const startedAt = performance.now();
  const child = spawn(command, args, { stdio: 'inherit' });
  let members = new Set<number>(child.pid === undefined ? [] : [child.pid]);
  let peak = takeSample(members, startedAt);
  let samples = 0;
  const timer = setInterval(() => {
    members = withChildren(new Set([...members, ...supervisors(runFolder)]));
    const sample = takeSample(members, startedAt);
    samples += 1;
    if (sample.totalBytes > peak.totalBytes) peak = sample;
  }, SAMPLE_MS);
  const [code] = (await once(child, 'exit').finally(() => clearInterval(timer))) as [number | null];
  const parts = [...peak.bytesByName].sort(([, one], [, two]) => two - one);
  const seconds = (performance.now() - startedAt) / 1000;
  console.log(
    `\npeak ${megabytes(peak.totalBytes)} after ${peak.afterSeconds.toFixed(0)} s of ${seconds.toFixed(0)} s`,
  );
  for (const [name, bytes] of parts) console.log(`  ${megabytes(bytes).padStart(8)}  ${name}`);
  console.log(`${samples} samples`);
  return code ?? 1;
}

function megabytes(bytes: number): string {
  return `${(bytes / MEGABYTE).toFixed(0)} MiB`;
}

const [command, ...args] = process.argv.slice(2);
if (command === undefined) {
  console.error('usage: node dist/bench/demo-memory.js COMMAND [ARGUMENTS…]');
  process.exitCode = 2;
} else process.exitCode = await measure(command, args);
