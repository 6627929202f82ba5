import { NibbleflowError } from '../../contracts/errors.js';
import { findServer, SERVER_VERSION } from '../server/find-server.js';
import { run } from '../server/run-command.js';
import { type Check, ok } from './check.js';

const VERSION_TIMEOUT_MS = 20_000;

/** The Temporal CLI that would serve, and which step of the lookup finds it. Fetches none. */
export const serverBinary: Check = {
  name: 'temporal',
  run: async ({ loaded, settings, env }) => {
    if (settings.address !== null) return [ok(`not needed: a server is configured (${settings.address})`)];
    try {
      const { path, source } = await findServer({ env, offline: true });
      const version = await run(path, ['--version'], { timeoutMs: VERSION_TIMEOUT_MS });
      return [ok(`${version.trim()}, found by ${source}: ${path}`)];
    } catch (error) {
      if (!(error instanceof NibbleflowError) || env.TEMPORAL_CLI_PATH) throw error;
      const what = 'no Temporal CLI on this machine';
      const fix = 'Install the Temporal CLI and set TEMPORAL_CLI_PATH to it, or set TEMPORAL_ADDRESS to a server.';
      if (loaded.config.offline) return [{ state: 'failed', what: `${what}, and none is fetched offline`, fix }];
      return [
        { state: 'warning', what: `${what}: version ${SERVER_VERSION} is downloaded or built at the first start`, fix },
      ];
    }
  },
};
