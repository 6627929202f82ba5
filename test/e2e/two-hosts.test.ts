import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { RecipeInput } from '../../contracts/recipe.js';
import { PROGRESS_QUERY, type RunProgress, type RunSummary } from '../../contracts/run-summary.js';
import type { Progress } from '../../contracts/stages.js';
import { ObservedRun } from '../chaos/observed-run.js';
import { writeTinyPipeline } from '../fixtures/tiny-pipeline.js';
import { findS3Server, S3ServerForTests } from '../s3-server.js';
import { startTestServer, type TestServer } from '../workflows/temporal-for-tests.js';
import { CliHome, digestsOf } from './cli-home.js';

/** Two boxes that have nothing in common but the address of a server and the URL of a store. */

const RECIPE: RecipeInput = {
  name: 'boxes',
  sampling: { steps: 2 },
  weights: { granularity: 'channel' },
  activations: { ranges: 'timestep', groupSize: null },
  calibration: { trajectories: 4, timesteps: 2 },
  evaluation: { samples: 4, timestepPairs: 16, beforeFinetuning: false },
  reconstruction: { enabled: true, steps: 10, samples: 8, batchSize: 4, wave: 4 },
  finetuning: {
    batchSize: 4,
    validateEvery: 500,
    patience: 10,
    phases: [{ name: 'attention', layers: ['attention-projection'], steps: 4000 }],
  },
};
/** Steps after the last checkpoint, so that there is work to lose. */
const STEPS_AT_RISK = 2;
const RUN_MS = 400_000;

const binary = await findS3Server();

let temporal: TestServer;
let s3: S3ServerForTests;
let undisturbed: Record<string, string>;
const boxes: CliHome[] = [];

/** A box of its own: folder, state and cache. With a prefix it shares a store and the server. */
async function box(prefix: string | null): Promise<CliHome> {
  const home = await CliHome.open(RECIPE);
  boxes.push(home);
  home.pipeline = join(home.folder, 'tiny');
  await writeTinyPipeline(home.pipeline);
  if (prefix === null) return home;
  const shared = { TEMPORAL_ADDRESS: temporal.address, NIBBLEFLOW_STORE: s3.url(prefix), ...s3.env };
  Object.assign(home.env, shared);
  return home;
}

/** Starts the box's worker in the background. */
async function wake(home: CliHome): Promise<string> {
  const { code, stderr } = await home.run('runs');
  expect(code, stderr).toBe(0);
  return `${home.record().worker?.pid}@`;
}

/** Identities of the workers that started activities of this name, in the order of their attempts. */
async function startedBy(summary: RunSummary, name: string): Promise<string[]> {
  const handle = temporal.client.workflow.getHandle(summary.workflowId, summary.runId);
  const events = (await handle.fetchHistory()).events ?? [];
  const ids = new Set(
    events
      .filter((event) => event.activityTaskScheduledEventAttributes?.activityType?.name === name)
      .map(({ eventId }) => String(eventId)),
  );
  return events.flatMap(({ activityTaskStartedEventAttributes: started }) =>
    ids.has(String(started?.scheduledEventId)) ? [started?.identity ?? ''] : [],
  );
}

async function untilTold(run: ObservedRun, isTold: (progress: Progress) => boolean): Promise<Progress> {
  let ended: string | undefined;
  void run.end().then(({ said }) => {
    ended = said;
  });
  for (;;) {
    const found = run.progress.find(isTold);
    if (found !== undefined) return found;
    if (ended !== undefined) throw new Error(`the run ended before: ${ended}`);
    await sleep(100);
  }
}

/** Resolves when the running run has nothing left but to write its output folder. */
async function untilReporting(): Promise<void> {
  for (;;) {
    for await (const { workflowId } of temporal.client.workflow.list({ query: "ExecutionStatus = 'Running'" })) {
      const { stages } = await temporal.client.workflow.getHandle(workflowId).query<RunProgress>(PROGRESS_QUERY);
      if (stages.find(({ id }) => id === 'report')?.state === 'running') return;
    }
    await sleep(200);
  }
}

describe.skipIf(binary === null)('two hosts with one store', () => {
  beforeAll(async () => {
    temporal = await startTestServer();
    s3 = await S3ServerForTests.start(binary ?? '');
    undisturbed = digestsOf(await (await box(null)).quantize());
  }, RUN_MS);
  // A worker that is left over would take work of the next test into the store of its own.
  afterEach(async () => {
    for (const home of boxes.splice(0)) await home.close();
  }, RUN_MS);
  afterAll(async () => {
    await s3?.stop();
    await temporal?.stop();
  }, RUN_MS);

  it('share the work of a run, which ends as on one', { timeout: RUN_MS }, async () => {
    const [a, b] = [await box('spread'), await box('spread')];
    const [first, second] = [await wake(a), await wake(b)];
    const summary = await a.quantize();
    expect(digestsOf(summary)).toEqual(undisturbed);
    const trainers = (await startedBy(summary, 'reconstructBlock')).map((identity) => identity.split('@')[0]);
    expect(new Set(trainers)).toEqual(new Set([first, second].map((identity) => identity.split('@')[0])));
    // Whoever takes the rest: people's folders are read and written where the run was started.
    for (const name of ['importPipeline', 'renderReport']) {
      for (const identity of await startedBy(summary, name)) expect(identity.startsWith(first)).toBe(true);
    }
    expect(await readdir(a.out)).toContain('report.html');
    await expect(readdir(b.out)).rejects.toThrow('ENOENT');
  });

  it('go on for each other from the checkpoint of one that died', { timeout: RUN_MS }, async () => {
    const [a, b] = [await box('taken-over'), await box('taken-over')];
    const first = await wake(a);
    const run = new ObservedRun(a);
    const saved = await untilTold(run, ({ stage, checkpoint }) => stage === 'finetune' && checkpoint !== null);
    await untilTold(run, ({ stage, done }) => stage === 'finetune' && done >= saved.done + STEPS_AT_RISK);
    const { supervisor, worker } = a.record();
    for (const { pid } of [supervisor, worker ?? supervisor, ...a.engines()]) process.kill(pid, 'SIGKILL');
    const second = await wake(b);
    const resumed = await untilTold(run, ({ stage, resumedAt }) => stage === 'finetune' && resumedAt !== null);
    expect(resumed.resumedAt).toBeGreaterThan(0);
    await untilReporting();
    // What is written on the first box waits for it.
    await wake(a);
    const summary = await run.result();
    expect(digestsOf(summary)).toEqual(undisturbed);
    const [finetuner] = await startedBy(summary, 'finetuneParameters');
    expect(finetuner?.startsWith(second)).toBe(true);
    expect(finetuner?.startsWith(first)).toBe(false);
    expect(await readdir(a.out)).toContain('report.html');
  });

  it('say what is wrong with the store before anything starts', { timeout: RUN_MS }, async () => {
    const home = await box('refused');
    home.env.AWS_SECRET_ACCESS_KEY = 'a-wrong-secret-key';
    const refused = await home.run(...home.quantizeArguments());
    expect(refused.code).toBe(3);
    expect(refused.stderr).toMatch(/StoreRefused: the store refuses: SignatureDoesNotMatch.*\(s3:.* at http:/);
    expect(refused.stderr).not.toContain('wrong-secret');
    home.env.NIBBLEFLOW_STORE = `s3://${S3ServerForTests.bucket}?region=us-east-1&endpoint=http://127.0.0.1:1`;
    const lost = await home.run(...home.quantizeArguments());
    expect(lost.code).toBe(3);
    expect(lost.stderr).toMatch(/StoreUnavailable: the store does not answer: .*ECONNREFUSED/);
  });
});
