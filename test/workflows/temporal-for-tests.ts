import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { findServer } from '../../cli/server/find-server.js';
import { LOOPBACK } from '../../cli/server/ports.js';
import { processRef, terminate } from '../../cli/server/processes.js';
import { startDevServer } from '../../cli/server/start-server.js';

/** A real dev server of a test file: found by the product's lookup, on free ports, in a folder of its own. */
export interface TestServer {
  readonly folder: string;
  readonly address: string;
  readonly client: Client;
  stop(): Promise<void>;
}

/** Starts it; rejects when no server can be found, so that the tests fail. */
export async function startTestServer(): Promise<TestServer> {
  const folder = await mkdtemp(join(tmpdir(), 'nibbleflow-temporal-'));
  const { path: binary } = await findServer({ announce: (line) => process.stderr.write(`${line}\n`) });
  const { child, address } = await startDevServer({
    binary,
    port: await anyFreePort(),
    uiPort: await anyFreePort(),
    namespace: 'default',
    databaseFile: join(folder, 'temporal.db'),
    logFile: join(folder, 'server.log'),
    retentionDays: 1,
  });
  const connection = await Connection.connect({ address });
  return {
    folder,
    address,
    client: new Client({ connection }),
    stop: async () => {
      await connection.close();
      await terminate(processRef(child.pid ?? 0), 10_000);
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** A port that the system says is free. */
export function anyFreePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once('error', reject);
    probe.listen(0, LOOPBACK, () => {
      const address = probe.address();
      probe.close(() => (address !== null && typeof address === 'object' ? resolve(address.port) : reject(address)));
    });
  });
}
