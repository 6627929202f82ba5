import { createServer, type Server } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { choosePorts, isFree, LOOPBACK } from '../../../cli/server/ports.js';
import { anyFreePort } from '../../workflows/temporal-for-tests.js';

let listening: Server | undefined;
afterEach(
  () => new Promise<void>((resolve) => (listening === undefined ? resolve() : listening.close(() => resolve()))),
);

async function occupy(port: number): Promise<void> {
  const server = createServer();
  listening = server;
  await new Promise<void>((resolve) => server.listen(port, LOOPBACK, () => resolve()));
}

describe('ports', () => {
  it('that are asked for and in use are an error that names the port and what to do', async () => {
    const port = await anyFreePort();
    await occupy(port);
    expect(await isFree(port)).toBe(false);
    await expect(choosePorts({ port, uiPort: null })).rejects.toMatchObject({
      kind: 'ServerUnavailable',
      message: expect.stringMatching(new RegExp(`port ${port} is in use[\\s\\S]*TEMPORAL_ADDRESS`)),
    });
  });

  it('that are not asked for are free ones, and differ', async () => {
    const { port, uiPort } = await choosePorts({ port: null, uiPort: null });
    expect(port).toBeGreaterThanOrEqual(7233);
    expect(uiPort).not.toBe(port);
    expect(await isFree(port)).toBe(true);
    expect(await isFree(uiPort)).toBe(true);
  });
});
