import { Command } from 'commander';
import type { CommandAction } from '../command-result.js';
import { addExtractorOptions, type ExtractorOptions } from '../extractor-options.js';

/** Options of `nibbleflow stats`. */
export interface StatsOptions extends ExtractorOptions {
  readonly features?: boolean;
}

/** `nibbleflow stats <image-folder> <out-file>`: reference statistics of pictures, for `score` and for other tools. */
export function statsCommand(run: CommandAction): Command {
  const command = new Command('stats')
    .description('write the statistics of a folder of pictures, as a reference for scores')
    .argument('<image-folder>', 'folder of pictures')
    .argument('<out-file>', '.npz (mu and sigma, for pytorch-fid and clean-fid) or .safetensors (with its origin)');
  return addExtractorOptions(command)
    .option('--features', 'keep the features themselves (.safetensors): every metric can use the file then')
    .addHelpText('after', '\nExample:\n  nibbleflow stats ./real real.safetensors --features')
    .action((folder: string, out: string, options: StatsOptions) =>
      run(async () => (await import('../write-stats.js')).writeStats(folder, out, options)),
    );
}
