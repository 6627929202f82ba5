import { type Command, Option } from 'commander';
import { OUTPUT_FORMATS, type OutputFormat } from './console-output.js';

/** Options of the commands that quantize or plan. */
export interface RunOptions {
  readonly recipe: string;
  readonly set: readonly string[];
  readonly out?: string;
  readonly device?: string;
  readonly threads?: string;
  readonly detach?: boolean;
  readonly output: OutputFormat;
}

/** --output, the same everywhere. */
export function outputOption(): Option {
  return new Option('--output <format>', 'what stdout gets; progress goes to stderr')
    .choices(OUTPUT_FORMATS)
    .default('text');
}

/** An option that may be given several times: a list, empty without it. */
export function repeatable(flags: string, description: string): Option {
  return new Option(flags, `${description}; repeatable`)
    .argParser((value: string, before: readonly string[]) => [...before, value])
    .default([], 'none');
}

/** Adds the options that decide what is done and where. */
export function addRunOptions(command: Command, defaultRecipe: string): Command {
  return command
    .option('--recipe <name|file>', 'built-in recipe, or a YAML or JSON file', defaultRecipe)
    .addOption(repeatable('--set <path=value>', 'change one setting of the recipe'))
    .option('--device <device>', 'cpu, webgpu or cuda (default: temporal.config.ts, else cpu)')
    .option('--threads <n>', 'threads of the engine (default: all cores)')
    .addOption(outputOption());
}
