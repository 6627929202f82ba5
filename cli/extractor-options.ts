import { type Command, Option } from 'commander';
import { protocolSchema } from '../contracts/protocol.js';

/** How pictures get the size of the extractor. */
export const RESIZE_MODES = protocolSchema.shape.resize.unwrap().options;
export type ResizeMode = (typeof RESIZE_MODES)[number];

/** Options of commands that take features of pictures. */
export interface ExtractorOptions {
  readonly extractor: string;
  readonly resize: ResizeMode;
  readonly threads?: string;
}

/** Adds the options that decide what features are. */
export function addExtractorOptions(command: Command): Command {
  const defaults = protocolSchema.parse({ name: 'defaults' });
  return command
    .option(
      '--extractor <name|folder>',
      'what looks at the pictures; `nibbleflow extractor list` names them',
      defaults.extractor,
    )
    .addOption(
      new Option('--resize <mode>', 'how pictures get its size: as it says, or as clean-fid calls it')
        .choices(RESIZE_MODES)
        .default(defaults.resize),
    )
    .option('--threads <n>', 'threads of the engine (default: all cores)');
}
