import { lstatSync, mkdirSync, rmSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { NibbleflowError } from '../contracts/errors.js';
import {
  createLease,
  emptyLease,
  filesOf,
  highestLeases,
  isEngineAlive,
  isWorkerAlive,
  type LeaseFile,
  type LeaseOwner,
  leasePath,
  renewLease,
  rewriteLease,
} from './lease-files.js';
import { isRunning, processRef } from './process-ref.js';

/**
 * One stage at a time on a device, over all worker processes of a machine: a folder with one small file per lease,
 * `<device>.<token>.json`. The token of a new lease is one more than the highest there is, and its file can be made once
 * only, so the highest token is the holder's and each holder has a higher one than all before it. A holder that died is
 * followed at once; one on another machine (a folder that machines share) when it has not renewed its lease for a minute. A
 * holder that was followed, because it slept or was cut off, sees the higher token before it writes anything.
 */

/** How often a waiting stage looks again. */
const POLL_MS = 250;
/** How often a lease is renewed: its file's time. */
const RENEW_MS = 5_000;

/** A lease for people: `nibbleflow doctor` lists them. */
export interface LeaseState {
  readonly device: string;
  /** Fencing token. */
  readonly token: number;
  readonly owner: { readonly host: string; readonly pid: number; readonly engine: number | null };
  readonly run: string;
  readonly stage: string;
  /** ms epoch. */
  readonly since: number;
  /** The worker lives; on another machine: has renewed the lease within a minute. */
  readonly alive: boolean;
  /** The worker is dead but its engine still holds the device: it has to be killed by hand. */
  readonly zombie: boolean;
}

/** The folder of leases where the configuration names none: of this user, on this machine. */
export function defaultLeaseFolder(): string {
  return join(tmpdir(), `nibbleflow-leases-${process.getuid?.() ?? 'user'}`);
}

/** The leases that are held, and those whose holders died. */
export function listLeases(folder: string = defaultLeaseFolder()): LeaseState[] {
  return [...highestLeases(folder).values()]
    .filter(({ isReleased }) => !isReleased)
    .map((lease) => ({
      device: lease.device,
      token: lease.token,
      owner: { host: lease.host, pid: lease.worker.pid, engine: lease.engine?.pid ?? null },
      run: lease.run,
      stage: lease.stage,
      since: lease.since,
      alive: isWorkerAlive(folder, lease),
      zombie: !isWorkerAlive(folder, lease) && isEngineAlive(lease),
    }));
}

/** Files of the leases that this process holds: one that names this process and is not here was left behind. */
const HELD = new Set<string>();

/** Takes leases for the stages of a worker process. */
export class DeviceLeases {
  constructor(
    private readonly folder: string = defaultLeaseFolder(),
    private readonly pollMs: number = POLL_MS,
  ) {}

  /**
   * Waits for the device, and takes it. `onWait` is told, again and again, who has it. Rejects with the signal's reason when
   * that is aborted first. Throws OutputNotWritable.
   */
  async acquire(
    device: string,
    owner: LeaseOwner,
    {
      signal,
      onWait,
    }: { readonly signal: AbortSignal; readonly onWait: (holder: LeaseOwner & { pid: number }) => void },
  ): Promise<DeviceLease> {
    this.prepare();
    for (;;) {
      signal.throwIfAborted();
      const lease = this.tryAcquire(device, owner);
      if (lease !== undefined) return lease;
      const holder = highestLeases(this.folder).get(device);
      if (holder !== undefined) onWait({ ...holder, pid: holder.worker.pid });
      await sleep(this.pollMs, undefined, { signal }).catch(() => undefined);
    }
  }

  private tryAcquire(device: string, owner: LeaseOwner): DeviceLease | undefined {
    const before = highestLeases(this.folder).get(device);
    if (before !== undefined && this.isHeld(before)) return undefined;
    const token = (before?.token ?? 0) + 1;
    const { run, stage, attempt } = owner;
    const lease: LeaseFile = {
      ...{ device, token, run, stage, attempt },
      ...{ host: hostname(), worker: processRef(process.pid), engine: null, since: Date.now(), isReleased: false },
    };
    const path = leasePath(this.folder, device, token);
    if (!createLease(this.folder, lease)) return undefined;
    // Whoever read the folder long ago may have made a token that was made and cleared away before.
    if (highestLeases(this.folder).get(device)?.token !== token) {
      rmSync(path, { force: true });
      return undefined;
    }
    HELD.add(path);
    for (const old of filesOf(this.folder)) {
      if (old.device === device && old.token < token) rmSync(old.path, { force: true });
    }
    return new DeviceLease(this.folder, lease, () => HELD.delete(path));
  }

  private isHeld(lease: LeaseFile): boolean {
    if (lease.isReleased) return false;
    const isOurs = lease.host === hostname() && lease.worker.pid === process.pid && isRunning(lease.worker);
    if (isOurs && !HELD.has(leasePath(this.folder, lease.device, lease.token))) return false;
    return isWorkerAlive(this.folder, lease) || isEngineAlive(lease);
  }

  /** A folder in a place where everybody may write must be ours. */
  private prepare(): void {
    try {
      mkdirSync(this.folder, { recursive: true, mode: 0o700 });
      const found = lstatSync(this.folder);
      const isOurs =
        this.folder !== defaultLeaseFolder() || process.getuid === undefined || found.uid === process.getuid();
      if (!found.isDirectory() || !isOurs) throw new Error('the folder belongs to somebody else');
    } catch (error) {
      throw new NibbleflowError('OutputNotWritable', `leases of devices cannot be kept: ${(error as Error).message}`, {
        where: this.folder,
        fix: 'Set devices.leaseDir in temporal.config.ts to a folder that every worker of this machine can write.',
        cause: error,
      });
    }
  }
}

/** A device that a stage has for itself, until it releases it. */
export class DeviceLease {
  private readonly renewing: NodeJS.Timeout;
  private isOver = false;

  constructor(
    private readonly folder: string,
    private file: LeaseFile,
    private readonly onRelease: () => void,
  ) {
    this.renewing = setInterval(() => renewLease(this.folder, this.file), RENEW_MS);
    this.renewing.unref();
  }

  get device(): string {
    return this.file.device;
  }

  /** Fencing token. */
  get token(): number {
    return this.file.token;
  }

  /** Notes the engine that computes: the device is not free before it is gone, whatever becomes of this process. */
  runsOn(enginePid: number): void {
    if (this.isCurrent()) this.write({ ...this.file, engine: processRef(enginePid) });
  }

  /** Throws LeaseLost when somebody else has the device now: nothing may be written any more. */
  assertHeld(): void {
    if (this.isCurrent()) return;
    throw new NibbleflowError('LeaseLost', `the lease of ${this.device} was lost: another stage has the device`, {
      where: `token ${this.token}`,
      fix: 'This attempt was cut off for more than a minute; the stage goes on in another one.',
    });
  }

  /** Gives the device back. Safe to call twice. */
  release(): void {
    if (this.isOver) return;
    this.isOver = true;
    clearInterval(this.renewing);
    this.onRelease();
    if (!this.isCurrent()) return;
    try {
      this.write({ ...this.file, isReleased: true });
    } catch {
      // On a disk that is full the file can still be emptied, and an empty one is nobody's.
      emptyLease(this.folder, this.file);
    }
  }

  private isCurrent(): boolean {
    return highestLeases(this.folder).get(this.device)?.token === this.token;
  }

  private write(file: LeaseFile): void {
    this.file = file;
    rewriteLease(this.folder, file);
  }
}
