import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { dirname, extname, join, resolve } from 'node:path';
import { parse as parseYaml } from 'yaml';
import { z } from 'zod';
import { type FailureKind, NibbleflowError, nearestName } from '../contracts/errors.js';
import { schemaAt, unknownKey } from './explain-issues.js';

/** A kind of settings file: YAML or JSON of what differs from the defaults, built-in ones beside it. */
export interface SettingsKind {
  /** `recipe`, `protocol`. */
  readonly what: string;
  readonly failure: FailureKind;
  /** Folder of the built-in files `<name>.yaml`: ordinary files of this kind. */
  readonly builtIns: string;
  readonly schema: z.ZodType;
  /** Settings that are paths: relative to the file that names them, or to the working directory. */
  readonly paths: readonly PathSetting[];
  /** For example, after --set. */
  readonly example: string;
}

export interface PathSetting {
  readonly at: readonly [string] | readonly [string, string];
  /** A value without slashes is a name, and no path. */
  readonly orName?: boolean;
}

export type Settings = Record<string, unknown>;

/** What such a file may hold besides its own settings. */
const fileSchema = z.looseObject({
  extends: z.union([z.string(), z.array(z.string())]).optional(),
});

/** Names of the built-in files, sorted. */
export async function builtInNames({ builtIns }: Pick<SettingsKind, 'builtIns'>): Promise<string[]> {
  const files = await readdir(builtIns).catch(() => []);
  return files
    .filter((file) => file.endsWith('.yaml'))
    .map((file) => file.slice(0, -'.yaml'.length))
    .sort();
}

/** Reads a file by built-in name or path, follows `extends` and applies `path=value` settings; nothing is checked against the schema yet. */
export async function layeredSettings(
  kind: SettingsKind,
  nameOrFile: string,
  settings: readonly string[],
  cwd: string,
): Promise<Settings> {
  const merged = await readWithBases(kind, nameOrFile, cwd, []);
  for (const setting of settings) applySetting(kind, merged, setting, cwd);
  return merged;
}

async function readWithBases(
  kind: SettingsKind,
  nameOrFile: string,
  folder: string,
  chain: readonly string[],
): Promise<Settings> {
  const file = await locate(kind, nameOrFile, folder);
  if (chain.includes(file)) {
    throw new NibbleflowError(kind.failure, `${kind.what}s extend each other in a circle`, {
      where: [...chain, file].join(' → '),
    });
  }
  const { extends: bases = [], ...own } = parseFile(kind, file, await readText(kind, file));
  for (const setting of kind.paths) makeAbsolute(own, setting, dirname(file));
  let merged: Settings = {};
  for (const base of typeof bases === 'string' ? [bases] : bases) {
    merged = merge(merged, await readWithBases(kind, base, dirname(file), [...chain, file]));
  }
  return merge(merged, own);
}

/** The path in a setting, if it is there, seen from a folder. */
function makeAbsolute(target: Settings, setting: PathSetting, folder: string): void {
  const [first, second] = setting.at;
  const value = target[first];
  if (second === undefined) {
    if (typeof value === 'string') target[first] = absolute(value, setting, folder);
    return;
  }
  if (!isSettings(value) || typeof value[second] !== 'string') return;
  target[first] = { ...value, [second]: absolute(value[second], setting, folder) };
}

function absolute(value: string, { orName = false }: PathSetting, folder: string): string {
  return orName && !/[\\/]/.test(value) ? value : resolve(folder, value);
}

async function locate(kind: SettingsKind, nameOrFile: string, folder: string): Promise<string> {
  const looksLikeFile = /[\\/]/.test(nameOrFile) || ['.yaml', '.yml', '.json'].includes(extname(nameOrFile));
  const builtIn = join(kind.builtIns, `${nameOrFile}.yaml`);
  if (!looksLikeFile && existsSync(builtIn)) return builtIn;
  const file = resolve(folder, nameOrFile);
  if (looksLikeFile && existsSync(file)) return file;
  const known = await builtInNames(kind);
  const nearest = looksLikeFile ? undefined : nearestName(nameOrFile, known);
  throw new NibbleflowError(
    kind.failure,
    looksLikeFile ? `the ${kind.what} file does not exist` : `no such ${kind.what}`,
    {
      where: nameOrFile,
      fix:
        nearest === undefined
          ? `Built-in ${kind.what}s: ${known.join(', ')}; or give a file.`
          : `Did you mean ${nearest}?`,
    },
  );
}

async function readText({ failure, what }: SettingsKind, file: string): Promise<string> {
  return readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw new NibbleflowError(failure, `the ${what} cannot be read: ${error.code ?? error.message}`, { where: file });
  });
}

function parseFile({ failure, what }: SettingsKind, file: string, text: string): z.output<typeof fileSchema> {
  let value: unknown;
  try {
    value = parseYaml(text);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    throw new NibbleflowError(failure, `the ${what} is not YAML: ${message}`, { where: file, cause: error });
  }
  const parsed = fileSchema.safeParse(value ?? {});
  if (parsed.success) return parsed.data;
  throw new NibbleflowError(failure, `the ${what} must be a mapping of settings`, { where: file });
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

/** A mapping, as opposed to a list or a single value. */
export function isSettings(value: unknown): value is Settings {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Applies `path=value` in place; the value is YAML, so `8`, `true`, `null` and `[a, b]` have their types. */
function applySetting(kind: SettingsKind, target: Settings, setting: string, cwd: string): void {
  const at = setting.indexOf('=');
  if (at <= 0) {
    throw new NibbleflowError(kind.failure, 'a setting looks like path=value', {
      where: `--set ${setting}`,
      fix: `For example: --set ${kind.example}`,
    });
  }
  const path = setting.slice(0, at).split('.');
  checkPath(kind, path, setting);
  let value: unknown;
  try {
    value = parseYaml(setting.slice(at + 1));
  } catch {
    value = setting.slice(at + 1);
  }
  const isPath = kind.paths.find(({ at }) => path.join('.') === at.join('.'));
  if (isPath !== undefined && typeof value === 'string') value = absolute(value, isPath, cwd);
  assign(target, path, value);
}

function checkPath({ schema, failure }: SettingsKind, path: readonly string[], setting: string): void {
  for (let length = 1; length <= path.length; length += 1) {
    const part = path.slice(0, length);
    if (schemaAt(schema, part) === undefined) {
      throw new NibbleflowError(failure, unknownKey(part, schema), { where: `--set ${setting}` });
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
