import { Command } from 'commander';
import type { CommandAction } from '../command-result.js';
import { type OutputFormat, print, say } from '../console-output.js';
import { loadConfig } from '../load-config.js';
import { outputOption } from '../run-options.js';

interface Options {
  readonly out: string;
  readonly output: OutputFormat;
}

/** `nibbleflow trend [night]`: how scores went, night by night. */
export function trendCommand(run: CommandAction): Command {
  return new Command('trend')
    .description('draw the history of nightly evaluations as one HTML page, and say where they stand')
    .argument('[night]', 'default: all of them')
    .option('--out <file>', 'the page', 'nibbleflow-trend.html')
    .addOption(outputOption())
    .action((night: string | undefined, { out, output }: Options) =>
      run(async () => {
        const { loadTrend, trendText, writeTrend } = await import('../nights/trend-pages.js');
        const data = await loadTrend(await loadConfig(process.cwd()), night, Date.now());
        const page = await writeTrend(data, out);
        if (output === 'json') print(JSON.stringify({ ...data, page }, null, 2));
        else if (output === 'jsonl') {
          for (const trend of data.nights) print(JSON.stringify({ schemaVersion: 1, ...trend, page }));
        } else print(trendText(data));
        say(`Page: ${page}`);
        return 0;
      }),
    );
}
