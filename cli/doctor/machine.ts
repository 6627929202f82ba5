import { readFileSync } from 'node:fs';
import { availableParallelism, freemem, totalmem } from 'node:os';
import { type Check, type DoctorLine, ok } from './check.js';
import { gigabytes } from './gigabytes.js';

/** Server, worker and an engine with the bundled model take about 1 GB; a real pipeline takes more (`plan` says how much). */
const LEAST_MEMORY_BYTES = 2 * 1024 ** 3;

const CGROUP = '/sys/fs/cgroup';
const CGROUP_V1_MEMORY = '/sys/fs/cgroup/memory/memory.limit_in_bytes';
/** An unlimited group of the first kind has a limit near 2⁶³. */
const NO_LIMIT_BYTES = 2 ** 60;

/** Cores and memory, as this process may use them: container limits count. */
export const machine: Check = {
  name: 'machine',
  run: async ({ loaded }) => [coresLine(loaded.config.devices.threads), memoryLine()],
};

function coresLine(threads: number | null): Omit<DoctorLine, 'check'> {
  const cores = availableParallelism();
  const quota = cgroupCores();
  const usable = quota === null ? cores : Math.min(cores, quota);
  const limit = quota !== null && quota < cores ? `, limited to ${quota} by the container` : '';
  const what = `${cores} cores${limit}; ${threads === null ? 'all of them' : threads} used for computing`;
  if ((threads ?? cores) <= Math.max(1, Math.ceil(usable))) return ok(what);
  const fix = `Set devices.threads: ${Math.max(1, Math.floor(usable))} in temporal.config.ts: more threads than cores are slower.`;
  return { state: 'warning', what, fix };
}

function memoryLine(): Omit<DoctorLine, 'check'> {
  const limit = cgroupMemory();
  const total = limit === null ? totalmem() : Math.min(limit.bytes, totalmem());
  const free = limit === null ? availableMemory() : Math.min(availableMemory(), limit.bytes - limit.used);
  const container = limit !== null && limit.bytes < totalmem() ? ' (limit of the container)' : '';
  const what = `memory ${gigabytes(total)}${container}, ${gigabytes(free)} available`;
  if (free >= LEAST_MEMORY_BYTES) return ok(what);
  return {
    state: 'warning',
    what,
    fix: `Close other programs or raise the limit; \`nibbleflow plan PIPELINE\` says what a run needs.`,
  };
}

/** What can be had without swapping: on Linux more than what is free, since caches give way. */
function availableMemory(): number {
  const kilobytes = /^MemAvailable:\s+(\d+) kB$/m.exec(text('/proc/meminfo') ?? '')?.[1];
  return kilobytes === undefined ? freemem() : Number(kilobytes) * 1024;
}

/** Cores of the control group's quota; null: no limit. */
function cgroupCores(): number | null {
  const [quota, period] = (text(`${CGROUP}/cpu.max`) ?? '').trim().split(' ').map(Number);
  return quota === undefined || period === undefined || !(quota > 0) ? null : quota / period;
}

/** The control group's limit and use; null: no limit. */
function cgroupMemory(): { bytes: number; used: number } | null {
  const bytes = Number(text(`${CGROUP}/memory.max`) ?? text(CGROUP_V1_MEMORY) ?? Number.NaN);
  if (!(bytes < NO_LIMIT_BYTES)) return null;
  return { bytes, used: Number(text(`${CGROUP}/memory.current`) ?? 0) };
}

/** null where there is no such file: other systems, other control groups. */
function text(file: string): string | null {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return null;
  }
}
