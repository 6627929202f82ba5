import { Command } from 'commander';
import type { CommandAction } from '../command-result.js';
import { print } from '../console-output.js';
import { recipeFileJsonSchema } from '../recipe-schema.js';

/** `nibbleflow schema`: the JSON schema of recipe files, for editors. */
export function schemaCommand(run: CommandAction): Command {
  return new Command('schema').description('print the JSON schema of recipe files').action(() =>
    run(async () => {
      print(JSON.stringify(recipeFileJsonSchema(), null, 2));
      return 0;
    }),
  );
}
