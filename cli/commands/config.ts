import { Command } from 'commander';
import type { CommandAction } from '../command-result.js';
import { configOrigins, type SettingRow } from '../config-origins.js';
import { type OutputFormat, print, say } from '../console-output.js';
import { loadConfig } from '../load-config.js';
import { checkStoreUrl } from '../open-store.js';
import { outputOption } from '../run-options.js';
import { connectionSettings } from '../server/connection.js';
import { textColumns } from '../text-columns.js';

/** `nibbleflow config show|path|check`: which settings count, and why. Starts and connects to nothing. */
export function configCommand(run: CommandAction): Command {
  return new Command('config')
    .description('show or check the settings: temporal.config.ts, connection, environment')
    .addCommand(showCommand(run))
    .addCommand(pathCommand(run))
    .addCommand(checkCommand(run))
    .exitOverride();
}

function showCommand(run: CommandAction): Command {
  return new Command('show')
    .description('every setting and its value; of secrets only whether they are set')
    .option('--origin', 'say where each value came from: flag > environment > profile > config file > default')
    .addOption(outputOption())
    .exitOverride()
    .action((options: { origin?: boolean; output: OutputFormat }, command: Command) =>
      run(async () => {
        const loaded = await loadConfig(process.cwd());
        const flags = command.optsWithGlobals().offline === true ? ['--offline'] : [];
        const rows = await configOrigins(loaded, process.env, flags);
        if (options.output === 'json') print(JSON.stringify({ schemaVersion: 1, settings: rows }, null, 2));
        else if (options.output === 'jsonl') {
          for (const row of rows) print(JSON.stringify({ schemaVersion: 1, ...row }));
        } else print(textColumns(rows.map((row) => settingText(row, options.origin ?? false))));
        return 0;
      }),
    );
}

function pathCommand(run: CommandAction): Command {
  return new Command('path')
    .description('the files and folders that count here')
    .addOption(outputOption())
    .exitOverride()
    .action((options: { output: OutputFormat }) =>
      run(async () => {
        const loaded = await loadConfig(process.cwd());
        checkStoreUrl(loaded);
        const { file, stateDir, storeDir, storeUrl } = loaded;
        if (options.output !== 'text') print(JSON.stringify({ schemaVersion: 1, file, stateDir, storeDir, storeUrl }));
        else {
          const none = '(none: built-in defaults)';
          print(
            textColumns([
              ['config file', file ?? none],
              ['state', stateDir],
              ['store', storeUrl === null ? storeDir : `${storeUrl}, with a cache in ${storeDir}`],
            ]),
          );
        }
        return 0;
      }),
    );
}

function checkCommand(run: CommandAction): Command {
  return new Command('check')
    .description('load the settings and the connection’s files; exit 2 with what is wrong')
    .exitOverride()
    .action(() =>
      run(async () => {
        const loaded = await loadConfig(process.cwd());
        checkStoreUrl(loaded);
        await connectionSettings();
        say(`ok: ${loaded.file ?? 'no temporal.config.ts, built-in defaults'}`);
        return 0;
      }),
    );
}

function settingText({ name, value, origin, where }: SettingRow, withOrigin: boolean): string[] {
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  if (!withOrigin) return [name, text];
  return [name, text, where === null ? origin : `${origin} (${where})`];
}
