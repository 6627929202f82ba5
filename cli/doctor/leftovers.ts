import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type LeaseState, listLeases } from '../../activities/device-leases.js';
import { isRunning } from '../server/processes.js';
import { run } from '../server/run-command.js';
import { RunFolder } from '../server/service-record.js';
import { type Check, type DoctorLine, ok } from './check.js';

const LIST_TIMEOUT_MS = 10_000;
/** The engine's file, from the sources or compiled. */
const ENGINE = /activities[/\\]engine[/\\]child\.[jt]s/;

/** A running process. */
export interface ListedProcess {
  readonly pid: number;
  readonly parent: number;
  readonly command: string;
}

/** What died without cleaning up: supervisors whose record is still there, holders of devices, engines without a worker. */
export const leftovers: Check = {
  name: 'leftovers',
  run: async ({ loaded }) => {
    const leases = listLeases(loaded.config.devices.leaseDir ?? undefined);
    const lines = [
      ...deadSupervisors(new RunFolder(loaded.stateDir)),
      ...leases.flatMap(deadHolder),
      ...orphans(await processes()),
    ];
    return lines.length > 0 ? lines : [ok('none: no dead supervisor, no dead holder of a device, no lost engine')];
  },
};

function deadSupervisors(runFolder: RunFolder): Omit<DoctorLine, 'check'>[] {
  return runFolder.names().flatMap((name) => {
    const record = runFolder.read(name);
    if (record === undefined || isRunning(record.supervisor)) return [];
    const left = [record.server, record.worker].filter(isRunning).length;
    const what = `the supervisor ${record.supervisor.pid} of ${record.address || 'a server'} is dead, ${left} of its processes run on`;
    return [{ state: 'warning', what, fix: 'nibbleflow down' }];
  });
}

/** A dead worker's lease is taken over by the next stage, unless its engine still holds the device. */
function deadHolder({ device, owner, run, stage, alive, zombie }: LeaseState): Omit<DoctorLine, 'check'>[] {
  if (alive) return [];
  const holder = `worker ${owner.pid} on ${owner.host}, which held ${device} for ${stage} of ${run}, is dead`;
  if (!zombie) return [ok(`${holder}: the next stage takes the device over`)];
  const what = `${holder}, but its engine ${owner.engine} still holds the device`;
  return [{ state: 'failed', what, fix: killCommand(owner.engine ?? 0) }];
}

/** An engine's parent is a Node process as long as its worker lives; then it is the system's. */
function orphans(all: readonly ListedProcess[]): Omit<DoctorLine, 'check'>[] {
  return orphanEngines(all).map(({ pid }) => ({
    state: 'warning',
    what: `an engine without a worker: process ${pid}`,
    fix: killCommand(pid),
  }));
}

function killCommand(pid: number): string {
  return process.platform === 'win32' ? `taskkill /F /PID ${pid}` : `kill -9 ${pid}`;
}

/** Engines whose parent is gone or is no Node process. */
export function orphanEngines(all: readonly ListedProcess[]): ListedProcess[] {
  const byPid = new Map(all.map((one) => [one.pid, one]));
  return all.filter(({ parent, command }) => {
    if (!ENGINE.test(command)) return false;
    const owner = byPid.get(parent);
    return owner === undefined || parent === 1 || !/node/i.test(owner.command);
  });
}

/** Every process that may be seen: from /proc, elsewhere by `ps`; none on systems that have neither. */
async function processes(): Promise<ListedProcess[]> {
  if (process.platform === 'linux') return linuxProcesses();
  const output = await run('ps', ['-axo', 'pid=,ppid=,args='], { timeoutMs: LIST_TIMEOUT_MS }).catch(() => '');
  return output.split('\n').flatMap((line) => {
    const match = /^\s*(\d+)\s+(\d+)\s+(.*)$/.exec(line);
    return match === null ? [] : [{ pid: Number(match[1]), parent: Number(match[2]), command: match[3] ?? '' }];
  });
}

function linuxProcesses(): ListedProcess[] {
  return readdirSync('/proc').flatMap((name) => {
    if (!/^\d+$/.test(name)) return [];
    try {
      const command = readFileSync(join('/proc', name, 'cmdline'), 'utf8').replaceAll('\0', ' ');
      const stat = readFileSync(join('/proc', name, 'stat'), 'utf8');
      const parent = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
      return [{ pid: Number(name), parent, command }];
    } catch {
      return [];
    }
  });
}
