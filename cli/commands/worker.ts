import { Command, Option } from 'commander';
import { type ExitCode, NibbleflowError, nearestName } from '../../contracts/errors.js';
import type { CommandAction } from '../command-result.js';
import { say } from '../console-output.js';
import { type LoadedConfig, loadConfig } from '../load-config.js';
import { checkStore } from '../open-store.js';
import { type ConnectionSettings, connectionSettings, openClient } from '../server/connection.js';
import { type ForegroundOptions, QUEUES, type Queue, runForegroundWorker } from '../server/foreground-worker.js';
import { isRunning } from '../server/processes.js';
import { ensureSearchAttributes } from '../server/search-attributes.js';
import { RunFolder, recordName } from '../server/service-record.js';

interface WorkerOptions extends ForegroundOptions {
  readonly queues: string;
}

/** `nibbleflow worker`: a worker alone, in the foreground, for another machine or a service unit. Starts no server. */
export function workerCommand(run: CommandAction): Command {
  return new Command('worker')
    .description(
      'run a worker in the foreground; needs the address of a server and, on several machines, a shared store',
    )
    .option('--queues <names>', `task queues to serve: ${QUEUES.join(', ')}`, QUEUES.join(','))
    .addOption(
      new Option('--log <format>', 'how the log is written to stderr')
        .choices(['text', 'json'])
        .default(process.stderr.isTTY ? 'text' : 'json'),
    )
    .option('--make-current', 'with worker.versioning: new runs start on this version from now on')
    .addHelpText('after', '\nExample:\n  TEMPORAL_ADDRESS=temporal:7233 NIBBLEFLOW_STORE=s3://quant nibbleflow worker')
    .action((options: WorkerOptions) => run(() => worker(options)));
}

async function worker(options: WorkerOptions): Promise<ExitCode> {
  const queues = parseQueues(options.queues);
  const loaded = await loadConfig(process.cwd());
  const settings = await connectionSettings();
  const target = serverOf(loaded, settings);
  new RunFolder(loaded.stateDir).prepare();
  const open = await openClient(target, settings.options);
  try {
    await ensureSearchAttributes(open, target.namespace);
  } finally {
    await open.connection.close();
  }
  if (options.makeCurrent && loaded.config.worker.versioning === null) {
    throw new NibbleflowError('InvalidInput', '--make-current needs worker.versioning', {
      where: loaded.file ?? 'temporal.config.ts',
      fix: "Set worker: { versioning: { deployment: 'nibbleflow' } }.",
    });
  }
  await checkStore(loaded);
  if (loaded.storeUrl === null && settings.address !== null && options.log === 'text') {
    say(
      `Artifacts stay on this machine (${loaded.storeDir}). Workers of several machines need NIBBLEFLOW_STORE or store.url.`,
    );
  }
  return (await runForegroundWorker(target, queues, options)) === 0 ? 0 : 3;
}

/** The configured server, or ours while it runs. Throws ServerUnavailable. */
function serverOf(loaded: LoadedConfig, { address, namespace }: ConnectionSettings) {
  if (address !== null) return { address, namespace };
  const record = new RunFolder(loaded.stateDir).read(recordName(null));
  if (record?.state === 'ready' && isRunning(record.supervisor)) return record;
  throw new NibbleflowError('ServerUnavailable', 'a worker needs a server, and none is configured or runs', {
    fix: 'Set TEMPORAL_ADDRESS (or a profile), or use `nibbleflow up` for a server and a worker on this machine.',
  });
}

function parseQueues(text: string): Queue[] {
  return [...new Set(text.split(','))].map((name) => {
    const known = QUEUES.find((queue) => queue === name.trim());
    if (known !== undefined) return known;
    const nearest = nearestName(name, QUEUES);
    throw new NibbleflowError('InvalidInput', `there is no task queue ${name}`, {
      where: '--queues',
      fix: nearest === undefined ? `Known: ${QUEUES.join(', ')}.` : `Did you mean ${nearest}?`,
    });
  });
}
