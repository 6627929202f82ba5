import { Argument, Command } from 'commander';
import type { CommandAction } from '../command-result.js';
import { configJsonSchema } from '../config-schema.js';
import { print } from '../console-output.js';
import { protocolFileJsonSchema } from '../protocol-schema.js';
import { recipeFileJsonSchema } from '../recipe-schema.js';

const SCHEMAS = { recipe: recipeFileJsonSchema, protocol: protocolFileJsonSchema, config: configJsonSchema } as const;

/** `nibbleflow schema [recipe|protocol|config]`: the JSON schema of such files, for editors. */
export function schemaCommand(run: CommandAction): Command {
  return new Command('schema')
    .description('print the JSON schema of recipe files, protocol files or temporal.config.ts')
    .addArgument(new Argument('[what]', 'which files').choices(Object.keys(SCHEMAS)).default('recipe'))
    .action((what: keyof typeof SCHEMAS) =>
      run(async () => {
        print(JSON.stringify(SCHEMAS[what](), null, 2));
        return 0;
      }),
    );
}
