import { NibbleflowError } from '../../contracts/errors.js';
import { loadConfig } from '../load-config.js';
import { processRef } from './processes.js';
import { buildId, RunFolder } from './service-record.js';
import { Supervisor } from './supervisor.js';

/** The detached supervisor: `supervisor-process RECORD BINARY`, where `-` for BINARY means a configured server. */
const [name = 'local', binary = '-'] = process.argv.slice(2);

const loaded = await loadConfig(process.cwd());
const runFolder = new RunFolder(loaded.stateDir);
const supervisor = new Supervisor({ loaded, binary: binary === '-' ? null : binary, stopWhenIdle: true });
try {
  if ((await supervisor.start()) === null) process.exit();
} catch (error) {
  console.error(error);
  runFolder.write(name, {
    version: 1,
    state: 'failed',
    supervisor: processRef(process.pid),
    server: null,
    worker: null,
    address: '',
    namespace: '',
    uiUrl: null,
    build: buildId(loaded),
    failure: {
      kind: error instanceof NibbleflowError ? error.kind : 'Internal',
      message: error instanceof Error ? error.message : String(error),
    },
  });
  process.exit(1);
}
await supervisor.untilStopped().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
process.exit();
