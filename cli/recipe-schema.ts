import { z } from 'zod';
import { recipeFields } from '../contracts/recipe.js';

/** JSON schema of recipe files, for editors: every setting of a recipe plus `extends`. */
export function recipeFileJsonSchema(): Record<string, unknown> {
  const file = recipeFields.extend({
    extends: z
      .union([z.string(), z.array(z.string())])
      .optional()
      .describe('built-in recipes or files that this one changes'),
  });
  return z.toJSONSchema(file, { io: 'input' }) as Record<string, unknown>;
}
