import type { Config } from '../contracts/config.js';
import type { Compute } from '../contracts/stages.js';
import { type DeviceLease, DeviceLeases } from './device-leases.js';
import type { EngineExecutor } from './engine/engine-executor.js';
import type { EnginePool } from './engine-pool.js';
import type { LeaseOwner } from './lease-files.js';
import type { RunLog } from './run-log.js';
import type { StageHost } from './stage-host.js';
import type { StageStop } from './stage-stop.js';

type Device = Compute['device'];

/** Which devices are leased, and where leases are kept. */
export interface DeviceLeasing {
  readonly devices: readonly Device[];
  readonly leases: DeviceLeases;
}

/** As `devices` of temporal.config.ts says. */
export function deviceLeasing({ leased, leaseDir }: Config['devices']): DeviceLeasing {
  return { devices: leased, leases: new DeviceLeases(leaseDir ?? undefined) };
}

/**
 * The name of a device's lease. WebGPU and CUDA reach the same graphics card: the first one, or the first of
 * CUDA_VISIBLE_DEVICES.
 */
export function leaseName(device: Device, env: NodeJS.ProcessEnv = process.env): string {
  if (device === 'cpu') return 'cpu';
  const [first] = (device === 'cuda' ? (env.CUDA_VISIBLE_DEVICES ?? '') : '').split(',');
  return `gpu${first?.trim().replace(/[^A-Za-z0-9-]/g, '') || '0'}`;
}

interface Computing {
  readonly stage: string;
  readonly host: StageHost;
  readonly log: RunLog;
}

/** The engine of one attempt of a stage; on a leased device only while it holds the lease. */
export class LeasedEngine {
  private readonly held = new Map<string, { readonly lease: DeviceLease; users: number }>();

  constructor(
    private readonly deps: { readonly engines: EnginePool; readonly leasing?: DeviceLeasing },
    private readonly stop: StageStop,
    private readonly facts: Computing,
    private readonly onWait: (note: string) => void,
  ) {}

  /** Lends an engine for `work`. Throws LeaseLost when the device was somebody else's before the work ended. */
  async use<T>(compute: Compute, work: (executor: EngineExecutor) => Promise<T>): Promise<T> {
    const { engines, leasing } = this.deps;
    const { log } = this.facts;
    if (!leasing?.devices.includes(compute.device)) return engines.use(compute, this.stop.signal, work, { log });
    const lease = await this.take(leasing.leases, leaseName(compute.device));
    const leased = async (executor: EngineExecutor): Promise<T> => {
      lease.runsOn(executor.pid);
      return work(executor);
    };
    try {
      const result = await engines.use(compute, this.stop.signal, leased, { log, keepsWarm: false });
      lease.assertHeld();
      return result;
    } finally {
      this.giveBack(lease);
    }
  }

  /** Throws LeaseLost when a device that this stage computes on is somebody else's now. */
  assertHeld(): void {
    for (const { lease } of this.held.values()) lease.assertHeld();
  }

  private async take(leases: DeviceLeases, device: string): Promise<DeviceLease> {
    const mine = this.held.get(device);
    if (mine !== undefined) {
      mine.users += 1;
      return mine.lease;
    }
    const { log } = this.facts;
    let waitsFor = '';
    const began = performance.now();
    const lease = await leases.acquire(device, this.owner(), {
      signal: this.stop.askedSignal,
      onWait: ({ run, stage, pid }) => {
        const note = `waits for ${device}, held by ${stage} of ${run} (process ${pid})`;
        this.onWait(note);
        if (note !== waitsFor) log.info('lease-waiting', note, { device, holder: { run, stage, pid } });
        waitsFor = note;
      },
    });
    log.info('lease-taken', `has ${device}`, {
      ...{ device, token: lease.token },
      waitedSeconds: (performance.now() - began) / 1000,
    });
    this.held.set(device, { lease, users: 1 });
    return lease;
  }

  private giveBack(lease: DeviceLease): void {
    const mine = this.held.get(lease.device);
    if (mine === undefined) return;
    mine.users -= 1;
    if (mine.users > 0) return;
    this.held.delete(lease.device);
    lease.release();
    this.facts.log.info('lease-released', `gave ${lease.device} back`, { device: lease.device, token: lease.token });
  }

  private owner(): LeaseOwner {
    const { stage, host } = this.facts;
    return { run: host.owner?.run ?? host.run, stage, attempt: host.owner?.attempt ?? 1 };
  }
}
