import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { openClient } from '../../cli/server/connection.js';
import { findServer } from '../../cli/server/find-server.js';
import { LOOPBACK } from '../../cli/server/ports.js';
import { processRef, terminate } from '../../cli/server/processes.js';
import { anyFreePort } from '../workflows/temporal-for-tests.js';

/** A cold start on a busy machine. */
const START_TIMEOUT_MS = 60_000;

/** A real server that was not started by nibbleflow: none of its search attributes, the server's own retention. */
export interface ForeignServer {
  readonly address: string;
  readonly port: number;
  stop(): Promise<void>;
}

/** Starts one that keeps everything in memory. */
export async function startForeignServer(): Promise<ForeignServer> {
  const { path } = await findServer();
  const folder = await mkdtemp(join(tmpdir(), 'nibbleflow-foreign-'));
  const port = await anyFreePort();
  const child = spawn(path, ['server', 'start-dev', '--headless', '--ip', LOOPBACK, '--port', String(port)], {
    stdio: 'ignore',
    cwd: folder,
    env: { ...process.env, TEMPORAL_VERSION_CHECK_DISABLED: '1' },
  });
  const stop = async (): Promise<void> => {
    await terminate(processRef(child.pid ?? 0), 10_000);
    await rm(folder, { recursive: true, force: true });
  };
  const address = `${LOOPBACK}:${port}`;
  const deadline = Date.now() + START_TIMEOUT_MS;
  for (;;) {
    try {
      await (await openClient({ address, namespace: 'default' }, {}, 1_000)).connection.close();
      return { address, port, stop };
    } catch (error) {
      if (Date.now() < deadline) await sleep(100);
      else {
        await stop();
        throw error;
      }
    }
  }
}
