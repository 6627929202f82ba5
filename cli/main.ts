#!/usr/bin/env node
import { Command, CommanderError } from 'commander';
import { packageVersion } from '../activities/package-file.js';
import { type ExitCode, exitCodeFor, NibbleflowError } from '../contracts/errors.js';
import type { CommandAction } from './command-result.js';
import { attachCommand } from './commands/attach.js';
import { cancelCommand } from './commands/cancel.js';
import { compareCommand } from './commands/compare.js';
import { configCommand } from './commands/config.js';
import { demoCommand } from './commands/demo.js';
import { doctorCommand } from './commands/doctor.js';
import { downCommand } from './commands/down.js';
import { evaluateCommand } from './commands/evaluate.js';
import { explainCommand } from './commands/explain.js';
import { extractorCommand } from './commands/extractor.js';
import { gcCommand } from './commands/gc.js';
import { logsCommand } from './commands/logs.js';
import { pauseCommand } from './commands/pause.js';
import { planCommand } from './commands/plan.js';
import { quantizeCommand } from './commands/quantize.js';
import { resumeCommand } from './commands/resume.js';
import { retryCommand } from './commands/retry.js';
import { runsCommand } from './commands/runs.js';
import { scheduleCommand } from './commands/schedule.js';
import { schemaCommand } from './commands/schema.js';
import { scoreCommand } from './commands/score.js';
import { setupCommand } from './commands/setup.js';
import { statsCommand } from './commands/stats.js';
import { statusCommand } from './commands/status.js';
import { sweepCommand } from './commands/sweep.js';
import { trendCommand } from './commands/trend.js';
import { upCommand } from './commands/up.js';
import { workerCommand } from './commands/worker.js';
import { explainFailure } from './console-output.js';
import { RunFailedError } from './run-failure.js';

/** Every command, in the order of the help. */
const COMMANDS: readonly ((run: CommandAction) => Command)[] = [
  quantizeCommand,
  sweepCommand,
  demoCommand,
  planCommand,
  evaluateCommand,
  scoreCommand,
  compareCommand,
  statsCommand,
  extractorCommand,
  statusCommand,
  attachCommand,
  logsCommand,
  pauseCommand,
  resumeCommand,
  cancelCommand,
  retryCommand,
  explainCommand,
  runsCommand,
  gcCommand,
  scheduleCommand,
  trendCommand,
  upCommand,
  downCommand,
  workerCommand,
  configCommand,
  doctorCommand,
  setupCommand,
  schemaCommand,
];

/** `nibbleflow logs RUN | head` has enough when the reader has: no failure. */
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0);
  throw error;
});

/** Runs the command line. The only place that sets exit codes. */
async function main(args: readonly string[]): Promise<ExitCode> {
  let code: ExitCode = 0;
  const debug = args.includes('--debug');
  if (args.includes('--offline')) process.env.NIBBLEFLOW_OFFLINE = '1';
  const run: CommandAction = async (action) => {
    code = await action();
  };
  const program = new Command('nibbleflow')
    .description('Makes diffusion models 4-bit, durably, and proves what that cost.')
    .version(packageVersion())
    .showSuggestionAfterError()
    // Commands and their own commands may have options of the same name.
    .enablePositionalOptions();
  for (const create of COMMANDS) {
    const command = create(run)
      .option('--debug', 'show stack traces')
      .option('--offline', 'use no network but Temporal and the store')
      .exitOverride();
    program.addCommand(command);
  }
  program.exitOverride();
  try {
    await program.parseAsync([...args], { from: 'user' });
    return code;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    process.stderr.write(`${explainFailure(error, debug)}\n`);
    return exitCodeOf(error);
  }
}

/** A run that failed for a reason of its own is 4, never 1: 1 means that this command has a bug. */
function exitCodeOf(error: unknown): ExitCode {
  if (!(error instanceof NibbleflowError)) return 1;
  const code = exitCodeFor(error.kind);
  return error instanceof RunFailedError && code === 1 ? 4 : code;
}

process.exitCode = await main(process.argv.slice(2));
// Connections that a failed command left open must not keep the process.
process.exit();
