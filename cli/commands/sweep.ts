import { Command } from 'commander';
import { NibbleflowError } from '../../contracts/errors.js';
import type { CommandAction } from '../command-result.js';
import { addRunOptions, type RunOptions } from '../run-options.js';
import { startSweep } from '../start-sweep.js';

/** `nibbleflow sweep <pipeline-folder> --recipe a,b --set weights.bits=4,8` */
export function sweepCommand(run: CommandAction): Command {
  const command = new Command('sweep')
    .description(
      'quantize a pipeline with every recipe and combination of settings, and compare quality, size and minutes',
    )
    .argument('<pipeline-folder>', 'folder in the diffusers layout with ONNX models')
    .option('--out <folder>', 'where the page and a folder for each run go (default: ./<pipeline>-sweep)')
    .option('--parallel <n>', 'runs at the same time; they share the slots of the workers', '2')
    .option('--detach', 'start the sweep and return');
  return addRunOptions(command, 'w4a4')
    .addHelpText(
      'after',
      '\nRecipes and values are separated by commas.\n\nExamples:\n  nibbleflow sweep ./my-pipeline --recipe w8a8,w4a4\n  nibbleflow sweep ./my-pipeline --recipe w4a8 --set weights.bits=4,8 --set activations.bits=6,8 --parallel 1',
    )
    .action((folder: string, options: RunOptions & { parallel: string }) =>
      run(() => {
        const { recipe: recipes, set: settings, out, device, threads } = options;
        const request = { folder, recipes, settings, out, device, threads, parallel: parallelOf(options.parallel) };
        return startSweep(request, options);
      }),
    );
}

function parallelOf(text: string): number {
  const parallel = Number(text);
  if (Number.isInteger(parallel) && parallel >= 1 && parallel <= 64) return parallel;
  throw new NibbleflowError('InvalidInput', 'parallel must be a whole number from 1 to 64', {
    where: `--parallel ${text}`,
  });
}
