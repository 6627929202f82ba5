import { findServer } from '../cli/server/find-server.js';

/**
 * Finds the Temporal server once, before the first test: fetching or building it takes minutes, which no test's timeout
 * allows. When there is none, the tests that need it fail by themselves and say why.
 */
export default async function findServerOnce(): Promise<void> {
  await findServer({ announce: (line) => process.stderr.write(`${line}\n`) }).catch((error: unknown) => {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  });
}
