import { Command, Option } from 'commander';
import { NibbleflowError } from '../../contracts/errors.js';
import { withServer } from '../command-context.js';
import type { CommandAction } from '../command-result.js';
import { type OutputFormat, print, say } from '../console-output.js';
import { LIST_STATES, type ListState, listRuns, type RunRow } from '../list-runs.js';
import { durationText } from '../progress-line.js';
import { outputOption } from '../run-options.js';
import { textColumns } from '../text-columns.js';

interface Options {
  readonly state?: ListState;
  readonly limit: string;
  readonly output: OutputFormat;
}

/** `nibbleflow runs` */
export function runsCommand(run: CommandAction): Command {
  return new Command('runs')
    .description('list the runs that the server remembers, newest first')
    .addOption(new Option('--state <state>', 'only runs in this state').choices(LIST_STATES))
    .option('--limit <n>', 'so many at most', '50')
    .addOption(outputOption())
    .action(({ state, limit, output }: Options) =>
      run(() => {
        const count = limitOf(limit);
        return withServer(async ({ client }) => {
          const found = await listRuns(client, { state: state ?? null, limit: count + 1 });
          const rows = found.slice(0, count);
          show(rows, output);
          if (found.length > count) say(`There are more than ${count}: --limit shows them.`);
          return 0 as const;
        });
      }),
    );
}

function limitOf(text: string): number {
  const limit = Number(text);
  if (Number.isInteger(limit) && limit >= 1) return limit;
  throw new NibbleflowError('InvalidInput', 'the limit must be a whole number from 1', { where: `--limit ${text}` });
}

function show(rows: readonly RunRow[], format: OutputFormat): void {
  if (format === 'json') print(JSON.stringify({ schemaVersion: 1, runs: rows }, null, 2));
  else if (format === 'jsonl') for (const row of rows) print(JSON.stringify({ schemaVersion: 1, ...row }));
  else if (rows.length === 0) print('No runs.');
  else print(textColumns([['run', 'state', 'stage', 'started', 'took', 'quality'], ...rows.map(columnsOf)]));
}

/** The stage is told of runs that have not succeeded: where they are, or were when they ended. */
function columnsOf({ workflowId, state, stage, startedAt, seconds, headline }: RunRow): string[] {
  const at = state === 'completed' ? '' : (stage ?? '');
  const started = `${startedAt.slice(0, 16).replace('T', ' ')}Z`;
  return [workflowId, state, at, started, durationText(seconds), headline ?? ''];
}
