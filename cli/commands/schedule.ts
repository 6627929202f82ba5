import { Command } from 'commander';
import { type ExitCode, NibbleflowError } from '../../contracts/errors.js';
import { type ServerContext, withServer } from '../command-context.js';
import type { CommandAction } from '../command-result.js';
import { type OutputFormat, print, say } from '../console-output.js';
import { loadConfig } from '../load-config.js';
import { outputOption } from '../run-options.js';

interface Output {
  readonly output: OutputFormat;
}

/** `nibbleflow schedule apply|list|trigger|pause|resume|delete|backfill`: nightly evaluations. */
export function scheduleCommand(run: CommandAction): Command {
  return new Command('schedule')
    .description('nightly evaluations: those of temporal.config.ts, and what the server makes of them')
    .addCommand(applyCommand(run))
    .addCommand(listCommand(run))
    .addCommand(triggerCommand(run))
    .addCommand(pauseCommand(run))
    .addCommand(resumeCommand(run))
    .addCommand(deleteCommand(run))
    .addCommand(backfillCommand(run))
    .exitOverride();
}

interface ApplyFlags extends Output {
  readonly prune?: boolean;
  readonly adopt?: boolean;
  readonly dryRun?: boolean;
}

function applyCommand(run: CommandAction): Command {
  return new Command('apply')
    .description('make the server’s schedules what temporal.config.ts says; twice changes nothing')
    .option('--prune', 'delete nights of this configuration that it no longer has')
    .option('--adopt', 'take over nights of the same name that another configuration made')
    .option('--dry-run', 'say what would be done, and do nothing')
    .addOption(outputOption())
    .exitOverride()
    .action((options: ApplyFlags) =>
      run(async () => {
        const { applyNights } = await import('../nights/apply-nights.js');
        const { wantedNights } = await import('../nights/night-specs.js');
        const { appliedText, keepsRunning } = await import('../nights/applied-text.js');
        // What is wrong in the file is said before a server is started.
        const config = await loadConfig(process.cwd());
        if (config.file === null) throw noConfig();
        const wanted = await wantedNights(config);
        return withServer(async ({ client, loaded, services }) => {
          const rows = await applyNights(client, loaded, wanted, options);
          if (options.output !== 'text') printRows('nights', rows, options.output);
          else print(rows.length === 0 ? 'No nights in temporal.config.ts.' : rows.map(appliedText).join('\n'));
          for (const { name, warnings } of rows) for (const warning of warnings) say(`${name}: ${warning}`);
          const note = keepsRunning(rows, services, options.dryRun === true);
          if (note !== null) say(note);
          return 0 as const;
        });
      }),
    );
}

function noConfig(): NibbleflowError {
  return new NibbleflowError('InvalidInput', 'there is no temporal.config.ts here or above', {
    where: process.cwd(),
    fix: 'Nights are declared there: export default defineConfig({ nights: { … } }).',
  });
}

function listCommand(run: CommandAction): Command {
  return new Command('list')
    .description('nights of the server and of the configuration: when they run, what did not run, the last verdict')
    .addOption(outputOption())
    .exitOverride()
    .action(({ output }: Output) =>
      run(async () => {
        const { listNights, nightRowText } = await import('../nights/list-nights.js');
        return withServer(async (context) => {
          const rows = await listNights(context);
          if (output !== 'text') printRows('nights', rows, output);
          else print(rows.length === 0 ? 'No nights.' : rows.map(nightRowText).join('\n'));
          return 0 as const;
        });
      }),
    );
}

function triggerCommand(run: CommandAction): Command {
  return new Command('trigger')
    .description('run a night now and follow it (exit code 5 when quality got worse); its overlap policy holds')
    .argument('<night>')
    .option('--detach', 'start it and return')
    .addOption(outputOption())
    .exitOverride()
    .action((name: string, options: Output & { readonly detach?: boolean }) =>
      run(async () => {
        const { triggerNight } = await import('../nights/trigger-night.js');
        const { followSubmitted } = await import('../follow-submitted.js');
        return withServer(async (context) => {
          const submitted = await triggerNight(context, name);
          if (submitted !== null) return followSubmitted(submitted, options);
          say('It starts when that one has ended.');
          if (options.output !== 'text') print(JSON.stringify({ schemaVersion: 1, name, queued: true }));
          return 0 as const;
        });
      }),
    );
}

function pauseCommand(run: CommandAction): Command {
  return changeCommand('pause', 'start no more runs of a night until it is resumed; one that runs goes on')
    .option('--note <text>', 'why')
    .action((name: string, { note, output }: Output & { readonly note?: string }) =>
      run(() => change(name, output, 'paused', ({ handle }) => handle.pause(note ?? 'paused by nibbleflow schedule'))),
    );
}

function resumeCommand(run: CommandAction): Command {
  return changeCommand('resume', 'start runs of a night again').action((name: string, { output }: Output) =>
    run(() => change(name, output, 'resumed', ({ handle }) => handle.unpause('resumed by nibbleflow schedule'))),
  );
}

function deleteCommand(run: CommandAction): Command {
  return changeCommand('delete', 'take a night’s schedule from the server; its records stay').action(
    (name: string, { output }: Output) => run(() => change(name, output, 'deleted', ({ handle }) => handle.delete())),
  );
}

function changeCommand(name: string, description: string): Command {
  return new Command(name).description(description).argument('<night>').addOption(outputOption()).exitOverride();
}

async function change(
  name: string,
  output: OutputFormat,
  done: string,
  action: (night: Awaited<ReturnType<typeof import('../nights/find-night.js').findNight>>) => Promise<void>,
): Promise<ExitCode> {
  const { findNight } = await import('../nights/find-night.js');
  return withServer(async ({ client }: ServerContext) => {
    await action(await findNight(client, name));
    print(output === 'text' ? `${name} ${done}` : JSON.stringify({ schemaVersion: 1, name, action: done }));
    return 0 as const;
  });
}

interface BackfillFlags extends Output {
  readonly from: string;
  readonly to: string;
  readonly again?: boolean;
}

function backfillCommand(run: CommandAction): Command {
  return new Command('backfill')
    .description('run nights that did not run when they were due, one after the other, on the folders of today')
    .argument('<night>')
    .requiredOption('--from <day|time>', 'first day in the night’s time zone, or an ISO time')
    .requiredOption('--to <day|time>', 'last day, or an ISO time')
    .option('--again', 'also the nights that ran')
    .addOption(outputOption())
    .exitOverride()
    .action((name: string, options: BackfillFlags) =>
      run(async () => {
        const { backfillNight } = await import('../nights/backfill-night.js');
        const { openStore } = await import('../open-store.js');
        return withServer(async ({ client, loaded }) => {
          const done = await backfillNight(client, await openStore(loaded), name, options);
          if (options.output !== 'text') print(JSON.stringify({ schemaVersion: 1, ...done }, null, 2));
          else print([...done.nights.map((at) => `runs now: ${at}`), ...done.ran.map((at) => `ran: ${at}`)].join('\n'));
          return 0 as const;
        });
      }),
    );
}

function printRows(key: string, rows: readonly object[], format: OutputFormat): void {
  if (format === 'json') print(JSON.stringify({ schemaVersion: 1, [key]: rows }, null, 2));
  else for (const row of rows) print(JSON.stringify({ schemaVersion: 1, ...row }));
}
