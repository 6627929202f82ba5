import { recipeFields } from '../contracts/recipe.js';
import { fileJsonSchema } from './file-json-schema.js';

/** JSON schema of recipe files, for editors: every setting of a recipe plus `extends`. */
export function recipeFileJsonSchema(): Record<string, unknown> {
  return fileJsonSchema(recipeFields, 'recipe');
}
