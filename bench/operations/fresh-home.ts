import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { RunFolder } from '../../cli/server/service-record.js';
import { stopServices } from '../../cli/server/stop-services.js';

export interface OperationsSettings {
  /** Folder of the pipeline that is quantized or sampled. */
  readonly pipeline: string;
  /** Runs that are queued at once. */
  readonly runs: number;
}

/** Runs a section with a state folder of its own (a server, a worker and a store that nothing else uses), and cleans up. */
export async function withFreshHome<T>(section: (home: string) => Promise<T>): Promise<T> {
  const home = await mkdtemp(join(tmpdir(), 'nibbleflow-bench-'));
  process.env.NIBBLEFLOW_HOME = home;
  try {
    return await section(home);
  } finally {
    const runFolder = new RunFolder(home);
    for (const name of runFolder.names()) await stopServices(runFolder, name);
    await rm(home, { recursive: true, force: true });
  }
}
