import { Command } from 'commander';
import { NibbleflowError } from '../../contracts/errors.js';
import { findRun, type ServerContext, withServer } from '../command-context.js';
import type { CommandAction } from '../command-result.js';
import { type OutputFormat, print, say } from '../console-output.js';
import { loadConfig } from '../load-config.js';
import { checkStore, openStore } from '../open-store.js';
import { printGarbage } from '../print-garbage.js';
import { outputOption, repeatable } from '../run-options.js';

interface GcOptions {
  readonly apply?: boolean;
  readonly keep: readonly string[];
  readonly keepDays?: string;
  readonly keepRuns?: string;
  readonly output: OutputFormat;
}

/** `nibbleflow gc [pin|unpin|pins]`: deletes what nothing needs any more; says only what it would do unless --apply is given. */
export function gcCommand(run: CommandAction): Command {
  return new Command('gc')
    .description('show what of the store nothing needs any more; --apply deletes it')
    .enablePositionalOptions()
    .option('--apply', 'delete it')
    .addOption(repeatable('--keep <run>', 'keep all that this run named'))
    .option('--keep-days <n>', 'keep results that were made or used in the last days (default: store.keepDays)')
    .option('--keep-runs <n>', 'keep all that the last runs named (default: store.keepRuns)')
    .addOption(outputOption())
    .action((options: GcOptions) => run(() => withServer((context) => collect(context, options))))
    .addCommand(pinCommand(run))
    .addCommand(unpinCommand(run))
    .addCommand(pinsCommand(run));
}

async function collect({ client, loaded }: ServerContext, options: GcOptions): Promise<0> {
  const { keepDays: days, keepRuns: runs } = loaded.config.store;
  const keepDays = numberOf('--keep-days', options.keepDays, days);
  const lastRuns = numberOf('--keep-runs', options.keepRuns, runs);
  await checkStore(loaded);
  const [store, { liveRoots }, { collectGarbage }, { dropCache }] = await Promise.all([
    openStore(loaded),
    import('../live-roots.js'),
    import('../../activities/store/collect-garbage.js'),
    import('../../activities/store/drop-cache.js'),
  ]);
  const keep = [];
  for (const id of options.keep) keep.push((await findRun(client, id)).workflowId);
  const roots = await liveRoots(client, { lastRuns, keep });
  const apply = options.apply ?? false;
  const report = await collectGarbage(store.records, { roots, keepDays, now: Date.now(), apply });
  const cache = await dropCache(store, apply);
  printGarbage({ store: store.records.url, report, cache, rule: { keepDays, keepRuns: lastRuns } }, options.output);
  return 0;
}

function numberOf(flag: string, text: string | undefined, otherwise: number): number {
  if (text === undefined) return otherwise;
  const value = Number(text);
  if (/^\d+$/.test(text) && value <= 36_500) return value;
  throw new NibbleflowError('InvalidInput', 'this is no number of days or runs', { where: `${flag} ${text}` });
}

function pinCommand(run: CommandAction): Command {
  return new Command('pin')
    .description('keep all that a run named until it is unpinned')
    .argument('<run>', 'id of a run, or its end')
    .action((id: string) =>
      run(() =>
        withServer(async ({ client, loaded }) => {
          const { workflowId } = await findRun(client, id);
          const { runId } = await client.workflow.getHandle(workflowId).describe();
          const [{ refsOfRun }, { pin }] = await Promise.all([
            import('../live-roots.js'),
            import('../../activities/store/pins.js'),
          ]);
          const refs = await refsOfRun(client, { workflowId, runId });
          const pinnedAt = new Date().toISOString();
          await pin((await openStore(loaded)).records, { workflowId, runId, pinnedAt, refs });
          say(`Pinned ${workflowId}: ${refs.length} artifacts.`);
          return 0 as const;
        }),
      ),
    )
    .exitOverride();
}

function unpinCommand(run: CommandAction): Command {
  return new Command('unpin')
    .description('let a pinned run be collected')
    .argument('<run>', 'id of a pinned run, or its end')
    .action((id: string) =>
      run(async () => {
        const { records } = await openStore(await loadConfig(process.cwd()));
        const { listPins, unpin } = await import('../../activities/store/pins.js');
        const found = (await listPins(records)).find(
          (pin) => pin.workflowId === id || pin.workflowId.endsWith(`/${id}`),
        );
        if (found === undefined) {
          throw new NibbleflowError('InvalidInput', 'no such run is pinned', {
            where: id,
            fix: '`nibbleflow gc pins` lists them.',
          });
        }
        await unpin(records, found.workflowId);
        say(`Unpinned ${found.workflowId}.`);
        return 0 as const;
      }),
    )
    .exitOverride();
}

function pinsCommand(run: CommandAction): Command {
  return new Command('pins')
    .description('list pinned runs')
    .addOption(outputOption())
    .action(({ output }: { output: OutputFormat }) =>
      run(async () => {
        const { records } = await openStore(await loadConfig(process.cwd()));
        const { listPins } = await import('../../activities/store/pins.js');
        const pins = (await listPins(records)).map(({ refs, ...pin }) => ({ ...pin, artifacts: refs.length }));
        if (output === 'json')
          print(JSON.stringify({ schemaVersion: 1, pins: pins.map(({ schemaVersion: _, ...pin }) => pin) }, null, 2));
        else if (output === 'jsonl') for (const pin of pins) print(JSON.stringify(pin));
        else
          print(
            pins
              .map((pin) => `${pin.pinnedAt.slice(0, 16)}Z  ${pin.workflowId}  ${pin.artifacts} artifacts`)
              .join('\n') || 'No pins.',
          );
        return 0 as const;
      }),
    )
    .exitOverride();
}
