import { loadConfig } from '../load-config.js';
import { connectionSettings, openClient } from '../server/connection.js';
import { isRunning } from '../server/processes.js';
import { RunFolder, recordName } from '../server/service-record.js';
import type { Check, DoctorContext, DoctorLine, ReachedServer } from './check.js';
import { clock } from './clock.js';
import { devices } from './devices.js';
import { disk } from './disk.js';
import { firstSentence } from './first-sentence.js';
import { leftovers } from './leftovers.js';
import { machine } from './machine.js';
import { nodeVersion } from './node-version.js';
import { pictures } from './pictures.js';
import { namespace, searchAttributes, server, workers } from './server.js';
import { serverBinary } from './server-binary.js';
import { store } from './store.js';

/** Every check, in the order of the lines. */
const CHECKS: readonly Check[] = [
  nodeVersion,
  devices,
  pictures,
  machine,
  disk,
  store,
  serverBinary,
  server,
  namespace,
  searchAttributes,
  workers,
  clock,
  leftovers,
];

/**
 * Looks at everything that runs need, line by line. Starts nothing that stays. Throws InvalidInput for settings that cannot
 * be loaded: nothing could be said then.
 */
export async function* runDoctor(cwd: string, env: NodeJS.ProcessEnv): AsyncGenerator<DoctorLine> {
  const loaded = await loadConfig(cwd, env);
  const settings = await connectionSettings(env);
  const { server, serverFailure } = await reachServer({ loaded, settings });
  const context: DoctorContext = { loaded, env, settings, server, serverFailure };
  try {
    for (const { name, run } of CHECKS) {
      const lines = await run(context).catch((error: unknown): Omit<DoctorLine, 'check'>[] => [
        { state: 'failed', what: firstSentence(error), fix: null },
      ]);
      for (const line of lines) yield { check: name, ...line };
    }
  } finally {
    await server?.connection.close();
  }
}

/** The configured server, or ours while it runs. */
async function reachServer({ loaded, settings }: Pick<DoctorContext, 'loaded' | 'settings'>): Promise<{
  server: ReachedServer | null;
  serverFailure: string | null;
}> {
  const own = settings.address === null;
  const record = own ? new RunFolder(loaded.stateDir).read(recordName(null)) : undefined;
  const running = record?.state === 'ready' && isRunning(record.supervisor) ? record.address : null;
  const address = settings.address ?? running;
  if (address === null) return { server: null, serverFailure: null };
  const { namespace } = settings;
  try {
    const open = await openClient({ address, namespace }, settings.options);
    return { server: { ...open, address, namespace, own }, serverFailure: null };
  } catch (error) {
    return { server: null, serverFailure: firstSentence(error) };
  }
}
