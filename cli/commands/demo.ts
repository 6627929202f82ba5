import { join } from 'node:path';
import { Command } from 'commander';
import type { CommandAction } from '../command-result.js';
import { builtInRecipes } from '../load-recipe.js';
import { packageRoot } from '../package-root.js';
import { addRunOptions, type RunOptions } from '../run-options.js';
import { startRun } from '../start-run.js';

/** `nibbleflow demo`: the bundled pipeline with the recipe `demo`, into ./demo-output. */
export function demoCommand(run: CommandAction): Command {
  const command = new Command('demo')
    .description('quantize the bundled emoji text-to-image pipeline; no GPU, no account, minutes')
    .option('--out <folder>', 'where the quantized pipeline goes', 'demo-output')
    .option('--detach', 'start the run and return');
  return addRunOptions(command, 'demo').action((options: RunOptions) =>
    run(async () => {
      const recipe = options.recipe === 'demo' && !(await builtInRecipes()).includes('demo') ? 'w4a4' : options.recipe;
      return startRun(join(packageRoot(), 'models', 'zoo', 'emoji-t2i'), { ...options, recipe });
    }),
  );
}
