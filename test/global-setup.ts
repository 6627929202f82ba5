import { findServer } from '../cli/server/find-server.js';
import { findS3Server } from './s3-server.js';

/**
 * Finds the Temporal server and the S3 server once, before the first test: fetching or building them takes minutes, which no
 * test's timeout allows. When there is none, the tests that need it fail by themselves and say why.
 */
export default async function findServersOnce(): Promise<void> {
  await findServer({ announce: (line) => process.stderr.write(`${line}\n`) }).catch((error: unknown) => {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  });
  await findS3Server();
}
