import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DefaultLogger, Runtime, Worker } from '@temporalio/worker';
import { DeterminismViolationError } from '@temporalio/workflow';
import { beforeAll, describe, expect, it } from 'vitest';
import { packageRoot } from '../../cli/package-root.js';
import { workflowBundleFile } from '../../cli/server/workflow-bundle-file.js';

/**
 * Runs that were started by a released version must go on under this one. The histories are of real runs, recorded by
 * bench/record-histories.ts; one folder for each release. No server is needed.
 */
const FOLDER = join(packageRoot(), 'test', 'replay', 'histories');
const FILES = readdirSync(FOLDER, { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.json'))
  .sort();
const workflowBundle = { codePath: workflowBundleFile() };

beforeAll(() => {
  Runtime.install({ logger: new DefaultLogger('ERROR') });
});

function textOf(file: string): string {
  return readFileSync(join(FOLDER, file), 'utf8');
}

/** Ids of children are made from it. */
function idOf(file: string): string | undefined {
  return /"workflowId":"([^"]*)"/.exec(textOf(file))?.[1];
}

describe('histories of released versions', () => {
  it('are of every workflow', () => {
    const types = FILES.map((file) => /"workflowType":\{"name":"(\w+)"\}/.exec(textOf(file))?.[1]);
    expect(new Set(types)).toEqual(
      new Set(['quantizePipeline', 'evaluatePipeline', 'sweepRecipes', 'nightlyEvaluation']),
    );
  });

  it.each(FILES)('%s replays without a difference', async (file) => {
    await Worker.runReplayHistory({ workflowBundle }, JSON.parse(textOf(file)), idOf(file));
  });

  it('would tell of a difference: a history whose first activity is another one is refused', async () => {
    const [file = ''] = FILES.filter((name) => name.includes('quantize'));
    const changed = textOf(file).replace('"activityType":{"name":"importPipeline"}', '"activityType":{"name":"other"}');
    expect(changed).not.toBe(textOf(file));
    await expect(Worker.runReplayHistory({ workflowBundle }, JSON.parse(changed))).rejects.toThrow(
      DeterminismViolationError,
    );
  });
});
