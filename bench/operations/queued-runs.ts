import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from '@temporalio/client';
import { RUNS_QUERY, withServer } from '../../cli/command-context.js';
import { loadConfig } from '../../cli/load-config.js';
import { prepareRun } from '../../cli/prepare-run.js';
import { type SubmittedRun, submitRun } from '../../cli/submit-run.js';
import type { RunSummary } from '../../contracts/run-summary.js';
import { median } from '../autodiff/timing.js';
import type { OperationsSettings } from './fresh-home.js';
import { computedStages } from './run-log-events.js';

/** Every run as short as it gets, and unlike every other: nothing is reused from its neighbours but the imported files. */
const SHORT = [
  'finetuning.enabled=false',
  'sampling.steps=2',
  'calibration.trajectories=2',
  'calibration.timesteps=2',
  'evaluation.samples=2',
  'evaluation.timestepPairs=4',
];
/** A page of the UI's list. */
const PAGE = 50;

/** Queues many runs at once: do all of them finish, is any stage done twice, do the lists stay quick? */
export async function queuedLines({ pipeline, runs }: OperationsSettings, home: string): Promise<string[]> {
  const loaded = await loadConfig(process.cwd());
  return withServer(async ({ client, services }) => {
    const submitted: SubmittedRun[] = [];
    const startedAt = performance.now();
    for (let seed = 0; seed < runs; seed += 1) {
      const settings = [...SHORT, `calibration.seed=${seed}`];
      const request = { folder: pipeline, recipe: 'w8a8', settings, out: `${home}/out/${seed}`, threads: '1' };
      submitted.push(await submitRun(client, services, await prepareRun(request, loaded, process.cwd()), loaded));
    }
    const submitSeconds = (performance.now() - startedAt) / 1000;
    const listMs: number[] = [];
    const results = Promise.all(submitted.map(({ handle }) => handle.result() as Promise<RunSummary>));
    const ended = new AbortController();
    void results.finally(() => ended.abort()).catch(() => undefined);
    while (!ended.signal.aborted) {
      listMs.push(await timeOfPage(client));
      await sleep(2_000, undefined, { signal: ended.signal }).catch(() => undefined);
    }
    const summaries = await results;
    const wallSeconds = (performance.now() - startedAt) / 1000;
    const stages = computedStages(home);
    const names = new Set(stages.map(({ run, stage, activityId }) => `${run} ${stage} ${activityId}`));
    const executions = await client.workflow.count(RUNS_QUERY);
    return [
      `${runs} runs submitted in ${submitSeconds.toFixed(0)} s, all finished after ${wallSeconds.toFixed(0)} s: ${(wallSeconds / runs).toFixed(2)} s each`,
      `workflow executions: ${executions.count} (${runs} wanted); distinct runs with a result: ${new Set(summaries.map(({ runId }) => runId)).size}`,
      `stages computed: ${stages.length}, of them more than once in their run: ${stages.length - names.size}`,
      `first page of ${PAGE} runs while they ran: median ${median(listMs).toFixed(0)} ms, longest ${Math.max(...listMs).toFixed(0)} ms (${listMs.length} looks)`,
    ];
  });
}

async function timeOfPage(client: Client): Promise<number> {
  const startedAt = performance.now();
  let seen = 0;
  for await (const _ of client.workflow.list({ query: RUNS_QUERY, pageSize: PAGE })) {
    seen += 1;
    if (seen === PAGE) break;
  }
  return performance.now() - startedAt;
}
