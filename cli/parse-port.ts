import { NibbleflowError } from '../contracts/errors.js';

/** A TCP port from an option. Throws InvalidInput. */
export function parsePort(option: string, text: string): number {
  const port = Number(text);
  if (Number.isInteger(port) && port >= 1 && port <= 65_535) return port;
  throw new NibbleflowError('InvalidInput', 'a port is a whole number from 1 to 65535', { where: `${option} ${text}` });
}
