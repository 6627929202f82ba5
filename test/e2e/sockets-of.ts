import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

/** State LISTEN of /proc/net/tcp. */
const LISTENING = '0A';

/** Addresses as hexadecimal words of the machine's byte order (little-endian). */
const LOOPBACKS = /^(?:[0-9A-F]{6}7F|0{24}01000000|0{16}FFFF0000[0-9A-F]{6}7F)$/;

/** A TCP or UDP socket of a process. */
export interface ProcessSocket {
  readonly pid: number;
  readonly listening: boolean;
  /** As /proc writes it: `0100007F:1C41`. */
  readonly local: string;
  readonly remote: string;
}

/** Every internet socket of some processes, from /proc (Linux). */
export function socketsOf(pids: readonly number[]): ProcessSocket[] {
  return pids.flatMap((pid) => {
    const inodes = new Set(descriptors(pid));
    return ['tcp', 'tcp6', 'udp', 'udp6'].flatMap((protocol) =>
      table(pid, protocol).flatMap(([, local = '', remote = '', state, , , , , , inode = '']) =>
        inodes.has(inode) ? [{ pid, listening: state === LISTENING, local, remote }] : [],
      ),
    );
  });
}

/** True for what only this machine can reach: bound to, or connected with, a loopback address. */
export function staysHere({ listening, local, remote }: ProcessSocket): boolean {
  const address = (listening ? local : remote).split(':')[0] ?? '';
  return LOOPBACKS.test(address) || (!listening && /^0+$/.test(address));
}

function descriptors(pid: number): string[] {
  return orNothing(() => readdirSync(`/proc/${pid}/fd`)).flatMap((fd) => {
    const [target = ''] = orNothing(() => [readlinkSync(`/proc/${pid}/fd/${fd}`)]);
    return /^socket:\[(\d+)\]$/.exec(target)?.[1] ?? [];
  });
}

function table(pid: number, protocol: string): string[][] {
  const lines = orNothing(() => readFileSync(`/proc/${pid}/net/${protocol}`, 'utf8').trim().split('\n').slice(1));
  return lines.map((line) => line.trim().split(/\s+/));
}

/** Processes and descriptors come and go. */
function orNothing<T>(read: () => T[]): T[] {
  try {
    return read();
  } catch {
    return [];
  }
}
