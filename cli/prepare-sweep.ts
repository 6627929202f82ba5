import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { ownManifest, refuseForeign } from '../activities/output-folder.js';
import { canonicalJson } from '../contracts/canonical-json.js';
import { NibbleflowError } from '../contracts/errors.js';
import type { SweepSpec } from '../contracts/sweep.js';
import { checkOutputFolder, checkPipelineFolder } from './check-folders.js';
import type { LoadedConfig } from './load-config.js';
import { nameForIds, prepareRun, workflowIdOf } from './prepare-run.js';
import { sweepCells } from './sweep-cells.js';

/** What people ask for on the command line. */
export interface SweepRequest {
  readonly folder: string;
  /** Names or files, with commas between them. */
  readonly recipes: string;
  readonly settings: readonly string[];
  readonly parallel: number;
  readonly out?: string;
  readonly device?: string;
  readonly threads?: string;
}

/**
 * Turns a request into a sweep's spec: every cell is checked as `quantize` would check it, before anything is started. Throws
 * InvalidInput, InvalidModel, InvalidRecipe or OutputNotWritable.
 */
export async function prepareSweep(request: SweepRequest, loaded: LoadedConfig, cwd: string): Promise<SweepSpec> {
  const { folder, recipes, settings, parallel, device, threads } = request;
  const requests = sweepCells(recipes, settings);
  const checked = await checkPipelineFolder(folder);
  const pipelineName = nameForIds(checked.folder.replace(/^.*[\\/]/, ''));
  const out = checkOutputFolder(request.out ?? join(cwd, `${pipelineName}-sweep`), checked.folder);
  if ((await ownManifest(out)) !== undefined) {
    throw new NibbleflowError('OutputNotWritable', 'the output folder is that of a single run', {
      where: out,
      fix: 'Choose another folder with --out: a sweep keeps a folder for each run in it.',
    });
  }
  const cells: SweepSpec['cells'] = [];
  for (const { name, recipe, settings: own } of requests) {
    const cellOut = join(out, nameForIds(name));
    const run = { folder, recipe, settings: own, out: cellOut, device, threads };
    const spec = await prepareRun(run, loaded, cwd);
    await refuseForeign(cellOut, 'pipeline');
    cells.push({ name, workflowId: workflowIdOf(spec), spec });
  }
  refuseSharedFolders(cells);
  return { pipelineName, out, parallel, cells };
}

/** Two names can become one folder when what differs cannot be in a file name. */
function refuseSharedFolders(cells: SweepSpec['cells']): void {
  const seen = new Map<string, string>();
  for (const { name, spec } of cells) {
    const other = seen.get(spec.out);
    if (other !== undefined) {
      throw new NibbleflowError('InvalidInput', `the runs “${other}” and “${name}” would write the same folder`, {
        where: spec.out,
        fix: 'Give the recipes files of different names.',
      });
    }
    seen.set(spec.out, name);
  }
}

/** `sweep/<pipeline>/<digest8>`: the same request has the same id, so that it attaches to itself. */
export function sweepIdOf({ pipelineName, parallel: _, ...spec }: SweepSpec): string {
  const digest = createHash('sha256').update(canonicalJson(spec)).digest('hex').slice(0, 8);
  return `sweep/${pipelineName}/${digest}`;
}
