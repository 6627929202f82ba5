import { createHash } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { basename, join } from 'node:path';
import { canonicalJson } from '../contracts/canonical-json.js';
import { NibbleflowError, nearestName } from '../contracts/errors.js';
import { type Compute, computeSchema, type RunSpec } from '../contracts/stages.js';
import { checkOutputFolder, checkPipelineFolder } from './check-folders.js';
import type { LoadedConfig } from './load-config.js';
import { loadRecipe } from './load-recipe.js';
import { openStore, type StoreSettings } from './open-store.js';
import { readPrompts } from './read-prompts.js';

/** What people ask for on the command line. */
export interface RunRequest {
  readonly folder: string;
  /** Built-in name or file. */
  readonly recipe: string;
  readonly settings: readonly string[];
  readonly out?: string;
  readonly device?: string;
  readonly threads?: string;
}

/**
 * Turns a request into a run's spec: checks the folder, resolves recipe and prompts, chooses device and threads. Needs no
 * server and starts nothing. Throws InvalidInput, InvalidModel, InvalidRecipe or OutputNotWritable.
 */
export async function prepareRun(request: RunRequest, loaded: LoadedConfig, cwd: string): Promise<RunSpec> {
  const checked = await checkPipelineFolder(request.folder);
  const recipe = await loadRecipe(request.recipe, request.settings, cwd);
  const compute = chooseCompute(request, loaded);
  const pipelineName = nameForIds(basename(checked.folder));
  const out = checkOutputFolder(request.out ?? join(cwd, `${pipelineName}-${recipe.name}`), checked.folder);
  return {
    source: checked.folder,
    sourceDigest: checked.digest,
    pipelineName,
    recipe,
    out,
    compute,
    prompts: recipe.prompts.file === null ? null : await storePrompts(loaded, recipe.prompts.file),
  };
}

/** Prompts are in the store, so that the run does not depend on a file that may change. */
async function storePrompts(settings: StoreSettings, file: string): Promise<RunSpec['prompts']> {
  const prompts = await readPrompts(file);
  return (await openStore(settings)).putJson('file', prompts);
}

/** Flags, then temporal.config.ts, then all cores of this machine. Throws InvalidInput. */
export function chooseCompute(
  request: { readonly device?: string; readonly threads?: string },
  { config }: LoadedConfig,
): Compute {
  const device = request.device ?? config.devices.default;
  const devices = computeSchema.shape.device.unwrap().options;
  if (!devices.some((known) => known === device)) {
    const nearest = nearestName(device, devices);
    throw new NibbleflowError('InvalidInput', `there is no device ${device}`, {
      where: '--device',
      fix: nearest === undefined ? `Devices: ${devices.join(', ')}` : `Did you mean ${nearest}?`,
    });
  }
  const threads =
    request.threads === undefined ? (config.devices.threads ?? availableParallelism()) : Number(request.threads);
  const parsed = computeSchema.safeParse({ device, threads });
  if (parsed.success) return parsed.data;
  throw new NibbleflowError('InvalidInput', 'threads must be a whole number from 1 to 256', {
    where: `--threads ${request.threads ?? threads}`,
  });
}

/** `quantize/<pipeline>/<recipe>/<digest8>`: the same request has the same id, so that it attaches to itself. */
export function workflowIdOf(spec: RunSpec): string {
  const digest = createHash('sha256').update(canonicalJson(spec)).digest('hex').slice(0, 8);
  return `quantize/${spec.pipelineName}/${spec.recipe.name}/${digest}`;
}

/** Names end up in ids and tables: anything unusual becomes a dash. */
export function nameForIds(name: string): string {
  return name.replace(/[^A-Za-z0-9._-]+/g, '-').slice(0, 80) || 'pipeline';
}
