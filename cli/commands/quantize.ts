import { Command } from 'commander';
import type { CommandAction } from '../command-result.js';
import { addRunOptions, type RunOptions } from '../run-options.js';
import { startRun } from '../start-run.js';

/** `nibbleflow quantize <pipeline-folder>` */
export function quantizeCommand(run: CommandAction): Command {
  const command = new Command('quantize')
    .description('make a diffusion pipeline low-bit and measure what it cost')
    .argument('<pipeline-folder>', 'folder in the diffusers layout with ONNX models')
    .option('--out <folder>', 'where the quantized pipeline goes (default: ./<pipeline>-<recipe>)')
    .option('--detach', 'start the run and return');
  return addRunOptions(command, 'w4a4')
    .addHelpText(
      'after',
      '\nExamples:\n  nibbleflow quantize ./my-pipeline\n  nibbleflow quantize ./my-pipeline --recipe w8a8 --set evaluation.samples=32 --out ./small',
    )
    .action((folder: string, options: RunOptions) => run(() => startRun(folder, options)));
}
