import { Command } from 'commander';
import type { CommandAction } from '../command-result.js';
import { addRunOptions } from '../run-options.js';
import { type QuantizeOptions, startRun } from '../start-run.js';

/** `nibbleflow quantize <pipeline-folder>` */
export function quantizeCommand(run: CommandAction): Command {
  const command = new Command('quantize')
    .description('make a diffusion pipeline low-bit and measure what it cost')
    .argument('<pipeline-folder>', 'folder in the diffusers layout with ONNX models')
    .option('--out <folder>', 'where the quantized pipeline goes (default: ./<pipeline>-<recipe>)')
    .option('--detach', 'start the run and return')
    .option('--no-cache', 'use no stored results')
    .option('--recompute <stage>', 'do not use the stored results of this stage');
  return addRunOptions(command, 'w4a4')
    .addHelpText(
      'after',
      '\nExamples:\n  nibbleflow quantize ./my-pipeline\n  nibbleflow quantize ./my-pipeline --recipe w8a8 --set evaluation.samples=32 --out ./small',
    )
    .action((folder: string, options: QuantizeOptions) => run(() => startRun(folder, options)));
}
