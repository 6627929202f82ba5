import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { dirname, extname, join, resolve } from 'node:path';
import { parse as parseYaml } from 'yaml';
import { z } from 'zod';
import { NibbleflowError, nearestName } from '../contracts/errors.js';
import { type Recipe, recipeSchema } from '../contracts/recipe.js';
import { explainIssues, schemaAt, unknownKey } from './explain-issues.js';
import { packageRoot } from './package-root.js';

/** What a recipe file may hold besides the recipe's own settings. */
const fileSchema = z.looseObject({
  extends: z.union([z.string(), z.array(z.string())]).optional(),
});

type Settings = Record<string, unknown>;

/** Folder of the built-in recipes: ordinary recipe files. */
export function builtInRecipesFolder(): string {
  return join(packageRoot(), 'quantization', 'recipes');
}

/** Names of the built-in recipes, sorted. */
export async function builtInRecipes(): Promise<string[]> {
  const files = await readdir(builtInRecipesFolder()).catch(() => []);
  return files
    .filter((file) => file.endsWith('.yaml'))
    .map((file) => file.slice(0, -'.yaml'.length))
    .sort();
}

/**
 * Loads a recipe by built-in name or by path (.yaml, .yml, .json), follows `extends`, applies `path=value` settings and
 * fills in every default. `prompts.file` of a file is relative to that file, of a setting to `cwd`. Throws InvalidRecipe.
 */
export async function loadRecipe(nameOrFile: string, settings: readonly string[], cwd: string): Promise<Recipe> {
  const merged = await readWithBases(nameOrFile, cwd, []);
  for (const setting of settings) applySetting(merged, setting, cwd);
  refuseIdleGroups(merged, nameOrFile);
  const parsed = recipeSchema.safeParse(merged);
  if (parsed.success) return parsed.data;
  throw new NibbleflowError('InvalidRecipe', explainIssues(parsed.error, recipeSchema), { where: nameOrFile });
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

async function readWithBases(nameOrFile: string, folder: string, chain: readonly string[]): Promise<Settings> {
  const file = await locate(nameOrFile, folder);
  if (chain.includes(file)) {
    throw new NibbleflowError('InvalidRecipe', 'recipes extend each other in a circle', {
      where: [...chain, file].join(' → '),
    });
  }
  const { extends: bases = [], ...own } = parseFile(file, await readText(file));
  const prompts = own.prompts as { file?: unknown } | undefined;
  if (typeof prompts?.file === 'string') own.prompts = { ...prompts, file: resolve(dirname(file), prompts.file) };
  let merged: Settings = {};
  for (const base of typeof bases === 'string' ? [bases] : bases) {
    merged = merge(merged, await readWithBases(base, dirname(file), [...chain, file]));
  }
  return merge(merged, own);
}

async function locate(nameOrFile: string, folder: string): Promise<string> {
  const looksLikeFile = /[\\/]/.test(nameOrFile) || ['.yaml', '.yml', '.json'].includes(extname(nameOrFile));
  const builtIn = join(builtInRecipesFolder(), `${nameOrFile}.yaml`);
  if (!looksLikeFile && existsSync(builtIn)) return builtIn;
  const file = resolve(folder, nameOrFile);
  if (looksLikeFile && existsSync(file)) return file;
  const known = await builtInRecipes();
  const nearest = looksLikeFile ? undefined : nearestName(nameOrFile, known);
  throw new NibbleflowError('InvalidRecipe', looksLikeFile ? 'the recipe file does not exist' : 'no such recipe', {
    where: nameOrFile,
    fix: nearest === undefined ? `Built-in recipes: ${known.join(', ')}; or give a file.` : `Did you mean ${nearest}?`,
  });
}

async function readText(file: string): Promise<string> {
  return readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw new NibbleflowError('InvalidRecipe', `the recipe cannot be read: ${error.code ?? error.message}`, {
      where: file,
    });
  });
}

function parseFile(file: string, text: string): z.output<typeof fileSchema> {
  let value: unknown;
  try {
    value = parseYaml(text);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    throw new NibbleflowError('InvalidRecipe', `the recipe is not YAML: ${message}`, { where: file, cause: error });
  }
  const parsed = fileSchema.safeParse(value ?? {});
  if (parsed.success) return parsed.data;
  throw new NibbleflowError('InvalidRecipe', `the recipe must be a mapping of settings`, { where: file });
}

/** Deep merge: members of `over` win, mappings are merged, everything else (arrays too) is replaced. */
export function merge(base: Settings, over: Settings): Settings {
  const result: Settings = { ...base };
  for (const [key, value] of Object.entries(over)) {
    const before = result[key];
    result[key] = isSettings(before) && isSettings(value) ? merge(before, value) : value;
  }
  return result;
}

function isSettings(value: unknown): value is Settings {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Applies `path=value` in place; the value is YAML, so `8`, `true`, `null` and `[a, b]` have their types. */
function applySetting(target: Settings, setting: string, cwd: string): void {
  const at = setting.indexOf('=');
  if (at <= 0) {
    throw new NibbleflowError('InvalidRecipe', 'a setting looks like path=value', {
      where: `--set ${setting}`,
      fix: 'For example: --set evaluation.samples=32',
    });
  }
  const path = setting.slice(0, at).split('.');
  checkPath(path, setting);
  let value: unknown;
  try {
    value = parseYaml(setting.slice(at + 1));
  } catch {
    value = setting.slice(at + 1);
  }
  if (path.join('.') === 'prompts.file' && typeof value === 'string') value = resolve(cwd, value);
  assign(target, path, value);
}

function checkPath(path: readonly string[], setting: string): void {
  for (let length = 1; length <= path.length; length += 1) {
    const part = path.slice(0, length);
    if (schemaAt(recipeSchema, part) === undefined) {
      throw new NibbleflowError('InvalidRecipe', unknownKey(part, recipeSchema), { where: `--set ${setting}` });
    }
  }
}

function assign(target: Settings, path: readonly string[], value: unknown): void {
  const [key, ...rest] = path;
  if (key === undefined) return;
  if (rest.length === 0) {
    target[key] = value;
    return;
  }
  const inner = target[key];
  const copy: Settings = Array.isArray(inner)
    ? (inner.slice() as unknown as Settings)
    : isSettings(inner)
      ? { ...inner }
      : {};
  target[key] = copy;
  assign(copy, rest, value);
}
