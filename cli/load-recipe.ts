import { join } from 'node:path';
import { NibbleflowError } from '../contracts/errors.js';
import { type Recipe, recipeSchema } from '../contracts/recipe.js';
import { explainIssues, issuePlace } from './explain-issues.js';
import { builtInNames, isSettings, layeredSettings, type Settings, type SettingsKind } from './layered-settings.js';
import { packageRoot } from './package-root.js';

/** Folder of the built-in recipes: ordinary recipe files. */
export function builtInRecipesFolder(): string {
  return join(packageRoot(), 'quantization', 'recipes');
}

const RECIPES: SettingsKind = {
  what: 'recipe',
  failure: 'InvalidRecipe',
  builtIns: builtInRecipesFolder(),
  schema: recipeSchema,
  paths: [{ at: ['prompts', 'file'] }],
  example: 'evaluation.samples=32',
};

/** Names of the built-in recipes, sorted. */
export function builtInRecipes(): Promise<string[]> {
  return builtInNames(RECIPES);
}

/**
 * Loads a recipe by built-in name or by path (.yaml, .yml, .json), follows `extends`, applies `path=value` settings and
 * fills in every default. `prompts.file` of a file is relative to that file, of a setting to `cwd`. Throws InvalidRecipe.
 */
export async function loadRecipe(nameOrFile: string, settings: readonly string[], cwd: string): Promise<Recipe> {
  const merged = await layeredSettings(RECIPES, nameOrFile, settings, cwd);
  refuseIdleGroups(merged, nameOrFile);
  const parsed = recipeSchema.safeParse(merged);
  if (parsed.success) {
    refuseIdleWeightGroups(parsed.data, settings);
    return parsed.data;
  }
  throw new NibbleflowError('InvalidRecipe', explainIssues(parsed.error, recipeSchema), {
    where: issuePlace(parsed.error, settings, nameOrFile),
  });
}

/** A group size that was asked for and that stored ranges would never look at: only the settings as written tell. */
function refuseIdleGroups({ activations }: Settings, where: string): void {
  if (!isSettings(activations)) return;
  const { groupSize = null, ranges = 'dynamic' } = activations;
  if (groupSize === null || ranges === 'dynamic') return;
  throw new NibbleflowError(
    'InvalidRecipe',
    `activations.groupSize: only ranges found at run time have groups of this size, and activations.ranges is ${ranges}`,
    {
      where,
      fix: 'Set activations.groupSize to null, or activations.ranges to dynamic.',
    },
  );
}

/** `--set weights.groupSize=…` on a recipe whose weights have a scale per channel would change nothing, and a sweep over it compare equals. */
function refuseIdleWeightGroups({ weights }: Recipe, settings: readonly string[]): void {
  const where = settings.find((setting) => setting.startsWith('weights.groupSize='));
  if (where === undefined || weights.granularity === 'group') return;
  throw new NibbleflowError(
    'InvalidRecipe',
    `weights.groupSize: only granularity group has groups, and weights.granularity is ${weights.granularity}`,
    { where: `--set ${where}`, fix: 'Add --set weights.granularity=group.' },
  );
}
