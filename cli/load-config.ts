import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, isAbsolute, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createJiti } from 'jiti';
import { type Config, configSchema } from '../contracts/config.js';
import { NibbleflowError } from '../contracts/errors.js';
import { explainIssues } from './explain-issues.js';

const FILE_NAME = 'temporal.config.ts';

/** The settings of a command, and the folders that follow from them (absolute). */
export interface LoadedConfig {
  readonly config: Config;
  /** What the file says, before defaults; `{}` without one. */
  readonly given: unknown;
  /** The file they were read from; null when there is none. */
  readonly file: string | null;
  /** NIBBLEFLOW_HOME, else `stateDir` beside the config file (default `.nibbleflow`), else ~/.nibbleflow. */
  readonly stateDir: string;
  readonly storeDir: string;
  /** NIBBLEFLOW_STORE, else `store.url`; null: artifacts stay in storeDir. */
  readonly storeUrl: string | null;
}

/**
 * Loads the nearest temporal.config.ts from `cwd` upwards. Throws InvalidInput when the file fails to load or has unknown
 * or impossible settings.
 */
export async function loadConfig(cwd: string, env: NodeJS.ProcessEnv = process.env): Promise<LoadedConfig> {
  const file = nearestConfigFile(cwd);
  const given = file === null ? {} : await importFile(file);
  const config = withOffline(file === null ? configSchema.parse({}) : parseConfig(file, given), env);
  const stateDir = stateFolder(config, file, env);
  const base = file === null ? stateDir : dirname(file);
  const storeDir = config.store.dir === null ? join(stateDir, 'store') : absolute(config.store.dir, base);
  const storeUrl = env.NIBBLEFLOW_STORE || config.store.url;
  return { config, given, file, stateDir, storeDir, storeUrl };
}

/** NIBBLEFLOW_OFFLINE goes before the file; `--offline` sets it for this process and the ones it starts. */
function withOffline(config: Config, env: NodeJS.ProcessEnv): Config {
  const text = env.NIBBLEFLOW_OFFLINE;
  if (!text) return config;
  if (['1', 'true'].includes(text)) return { ...config, offline: true };
  if (['0', 'false'].includes(text)) return { ...config, offline: false };
  throw new NibbleflowError('InvalidInput', `NIBBLEFLOW_OFFLINE is neither 1 nor 0: ${text}`, {
    fix: 'Set it to 1, true, 0 or false, or unset it.',
  });
}

function nearestConfigFile(cwd: string): string | null {
  for (let folder = resolve(cwd); ; folder = dirname(folder)) {
    const file = join(folder, FILE_NAME);
    if (existsSync(file)) return file;
    if (dirname(folder) === folder) return null;
  }
}

function stateFolder(config: Config, file: string | null, env: NodeJS.ProcessEnv): string {
  if (env.NIBBLEFLOW_HOME) return resolve(env.NIBBLEFLOW_HOME);
  if (file === null) return join(homedir(), '.nibbleflow');
  return absolute(config.stateDir ?? '.nibbleflow', dirname(file));
}

/** `nibbleflow/config` in the file means this package, wherever the file lies. */
async function importFile(file: string): Promise<unknown> {
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
  const here = fileURLToPath(new URL(`../contracts/config.${extension}`, import.meta.url));
  try {
    return await createJiti(import.meta.url, { fsCache: false, alias: { 'nibbleflow/config': here } }).import(file, {
      default: true,
    });
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    throw new NibbleflowError('InvalidInput', `the configuration cannot be loaded: ${message}`, {
      where: file,
      cause: error,
    });
  }
}

function parseConfig(file: string, value: unknown): Config {
  const parsed = configSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new NibbleflowError('InvalidInput', explainIssues(parsed.error, configSchema), { where: file });
}

function absolute(path: string, base: string): string {
  return isAbsolute(path) ? path : join(base, path);
}
