import { join } from 'node:path';
import { Command } from 'commander';
import type { CommandAction } from '../command-result.js';
import { packageRoot } from '../package-root.js';
import { addRunOptions, type RunOptions } from '../run-options.js';
import { startRun } from '../start-run.js';

/** `nibbleflow demo`: the bundled pipeline with the default recipe, into ./demo-output. */
export function demoCommand(run: CommandAction): Command {
  const command = new Command('demo')
    .description('quantize the bundled emoji text-to-image pipeline; no GPU, no account, minutes')
    .option('--out <folder>', 'where the quantized pipeline goes', 'demo-output')
    .option('--detach', 'start the run and return');
  return addRunOptions(command, 'w4a4').action((options: RunOptions) =>
    run(() => startRun(join(packageRoot(), 'models', 'zoo', 'emoji-t2i'), options)),
  );
}
