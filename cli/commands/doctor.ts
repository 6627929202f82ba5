import { Command } from 'commander';
import type { ExitCode } from '../../contracts/errors.js';
import type { CommandAction } from '../command-result.js';
import { type OutputFormat, print } from '../console-output.js';
import type { DoctorLine } from '../doctor/check.js';
import { outputOption } from '../run-options.js';

/** `nibbleflow doctor`: what runs need, line by line, with the fix of what is wrong. Exit 3 when something needed fails. */
export function doctorCommand(run: CommandAction): Command {
  return new Command('doctor')
    .description('check everything that runs need; each problem with its fix. Starts nothing that stays')
    .addOption(outputOption())
    .action((options: { output: OutputFormat }) => run(() => doctor(options.output)));
}

async function doctor(format: OutputFormat): Promise<ExitCode> {
  const { runDoctor } = await import('../doctor/run-doctor.js');
  const lines: DoctorLine[] = [];
  for await (const line of runDoctor(process.cwd(), process.env)) {
    lines.push(line);
    if (format === 'text') print(lineText(line));
    if (format === 'jsonl') print(JSON.stringify({ schemaVersion: 1, ...line }));
  }
  const failed = lines.filter(({ state }) => state === 'failed').length;
  const warnings = lines.filter(({ state }) => state === 'warning').length;
  if (format === 'json') print(JSON.stringify({ schemaVersion: 1, ok: failed === 0, checks: lines }, null, 2));
  if (format === 'text') print(`\n${failed} failed, ${warnings} warnings, ${lines.length} lines`);
  return failed === 0 ? 0 : 3;
}

function lineText({ state, check, what, fix }: DoctorLine): string {
  const head = `${state.padEnd(8)} ${check.padEnd(18)} ${what}`;
  return fix === null ? head : `${head}\n${' '.repeat(28)}→ ${fix}`;
}
