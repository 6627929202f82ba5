import { createServer } from 'node:net';
import { NibbleflowError } from '../../contracts/errors.js';

/** The server listens on loopback only: it has no authentication. */
export const LOOPBACK = '127.0.0.1';
const DEFAULT_PORT = 7233;
const UI_OFFSET = 1000;
const CANDIDATES = 100;

/** True when nobody listens on the port. */
export function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once('error', () => resolve(false));
    probe.listen({ host: LOOPBACK, port, exclusive: true }, () => probe.close(() => resolve(true)));
  });
}

/**
 * Ports of the dev server and its UI. A port that was asked for is used or is an error; otherwise the first free one from
 * 7233 and 8233 upwards. Throws ServerUnavailable.
 */
export async function choosePorts(asked: {
  readonly port: number | null;
  readonly uiPort: number | null;
}): Promise<{ port: number; uiPort: number }> {
  const port = await choosePort(asked.port, DEFAULT_PORT, 'devServer.port', []);
  const uiPort = await choosePort(asked.uiPort, port + UI_OFFSET, 'devServer.uiPort', [port]);
  return { port, uiPort };
}

async function choosePort(
  asked: number | null,
  first: number,
  setting: string,
  taken: readonly number[],
): Promise<number> {
  if (asked !== null) {
    if (await isFree(asked)) return asked;
    throw new NibbleflowError('ServerUnavailable', `port ${asked} is in use`, {
      where: setting,
      fix: `Stop what listens on it, choose another port, or leave the port out to get the next free one. If a Temporal server of yours listens there, set TEMPORAL_ADDRESS=${LOOPBACK}:${asked} to use it.`,
    });
  }
  for (let port = first; port < first + CANDIDATES && port <= 65_535; port += 1) {
    if (!taken.includes(port) && (await isFree(port))) return port;
  }
  throw new NibbleflowError('ServerUnavailable', `no free port from ${first} to ${first + CANDIDATES - 1}`, {
    where: setting,
    fix: `Set ${setting} in temporal.config.ts to a free port.`,
  });
}
