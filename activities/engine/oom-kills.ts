import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/**
 * How often the system has killed a process for memory, as it counts itself: in the control group of this process (a
 * container's or a service's limit; versions 1 and 2) and on the whole machine. A SIGKILL that nobody sent and a count that
 * rose meanwhile are an out-of-memory kill. null where the system tells neither.
 */
export function oomKills(root = '/'): number | null {
  const counts = [join(root, 'proc/vmstat'), ...groupFiles(root)].map(countIn).filter((count) => count !== null);
  return counts.length === 0 ? null : counts.reduce((sum, count) => sum + count, 0);
}

/** Files of this process's memory groups that have an `oom_kill` line. */
function groupFiles(root: string): string[] {
  return (textOf(join(root, 'proc/self/cgroup')) ?? '').split('\n').flatMap((line) => {
    const [, controllers = '', path = ''] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
    const groups = join(root, 'sys/fs/cgroup');
    if (controllers.split(',').includes('memory')) return [join(groups, 'memory', path, 'memory.oom_control')];
    return line.startsWith('0::') ? [join(groups, path, 'memory.events')] : [];
  });
}

function countIn(path: string): number | null {
  const [, count] = /^oom_kill (\d+)$/m.exec(textOf(path) ?? '') ?? [];
  return count === undefined ? null : Number(count);
}

function textOf(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}
