import { Command } from 'commander';
import { RUNS_QUERY, withServer } from '../command-context.js';
import type { CommandAction } from '../command-result.js';
import { type OutputFormat, print } from '../console-output.js';
import { outputOption } from '../run-options.js';

interface RunRow {
  readonly workflowId: string;
  readonly runId: string;
  readonly status: string;
  readonly startedAt: string;
  readonly endedAt: string | null;
}

/** `nibbleflow runs` */
export function runsCommand(run: CommandAction): Command {
  return new Command('runs')
    .description('list the runs that the server remembers, newest first')
    .addOption(outputOption())
    .action((options: { output: OutputFormat }) =>
      run(() =>
        withServer(async ({ client }) => {
          const rows: RunRow[] = [];
          for await (const found of client.workflow.list({ query: RUNS_QUERY })) {
            rows.push({
              workflowId: found.workflowId,
              runId: found.runId,
              status: found.status.name.toLowerCase(),
              startedAt: found.startTime.toISOString(),
              endedAt: found.closeTime?.toISOString() ?? null,
            });
          }
          show(rows, options.output);
          return 0 as const;
        }),
      ),
    );
}

function show(rows: readonly RunRow[], format: OutputFormat): void {
  if (format === 'json') print(JSON.stringify({ schemaVersion: 1, runs: rows }, null, 2));
  else if (format === 'jsonl') for (const row of rows) print(JSON.stringify({ schemaVersion: 1, ...row }));
  else if (rows.length === 0) print('No runs.');
  else print(table(rows));
}

function table(rows: readonly RunRow[]): string {
  const width = Math.max(...rows.map((row) => row.workflowId.length));
  return rows.map((row) => `${row.startedAt.slice(0, 16)}Z  ${row.workflowId.padEnd(width)}  ${row.status}`).join('\n');
}
