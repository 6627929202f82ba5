import { Command, Option } from 'commander';
import type { CommandAction } from '../command-result.js';
import { addExtractorOptions, type ExtractorOptions } from '../extractor-options.js';
import { repeatable } from '../run-options.js';

/** How `score` prints its scores. */
export const SCORE_FORMATS = ['text', 'json', 'md'] as const;

/** Options of `nibbleflow score`. */
export interface ScoreOptions extends ExtractorOptions {
  readonly metrics?: string;
  readonly set: readonly string[];
  readonly paired?: boolean;
  readonly output: (typeof SCORE_FORMATS)[number];
}

/** `nibbleflow score <image-folder> <image-folder|stats-file>`: how far pictures are from a reference; needs no server. */
export function scoreCommand(run: CommandAction): Command {
  const command = new Command('score')
    .description('score a folder of pictures against another folder or a statistics file')
    .argument('<image-folder>', 'the pictures to score')
    .argument('<reference>', 'folder of pictures, or a statistics file (.npz, .safetensors)');
  return addExtractorOptions(command)
    .option(
      '--metrics <names>',
      'rows of the metric table, with commas between (default: all that the extractor allows)',
    )
    .addOption(repeatable('--set <path=value>', 'change one setting of the metrics, e.g. settings.kidSubsets=50'))
    .option('--paired', 'also compare pictures of the same file name: psnr, ssim, lpips')
    .addOption(
      new Option('--output <format>', 'what stdout gets; json is an array').choices(SCORE_FORMATS).default('text'),
    )
    .addHelpText(
      'after',
      '\nExamples:\n  nibbleflow score ./generated ./real\n  nibbleflow score ./generated real.npz --metrics frechet --output json',
    )
    .action((folder: string, reference: string, options: ScoreOptions) =>
      run(async () => (await import('../score-folders.js')).scoreFolders(folder, reference, options)),
    );
}
