import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Worker } from '@temporalio/worker';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { workflowBundleFile } from '../../cli/server/workflow-bundle-file.js';
import {
  EVALUATE_WORKFLOW,
  type EvaluationSpec,
  type EvaluationSummary,
} from '../../contracts/evaluation-activities.js';
import { scoreSchema } from '../../contracts/score.js';
import { evaluateInShards, tinyEvaluation } from '../activities/evaluation-steps.js';
import { perturbed } from '../activities/perturbed-unet.js';
import { Bench } from '../activities/run-chain.js';
import { tinyUnet, writeTinyPipeline } from '../fixtures/tiny-pipeline.js';
import { startTestServer, type TestServer } from './temporal-for-tests.js';
import { COMPUTING, startTestWorkers, type TestWorkers } from './workers-for-tests.js';

/** A whole evaluation on a real server with the real activities: shards are sampled by two workers at the same time. */

const QUEUES = { cpu: 'evaluation-cpu', gpu: 'evaluation-gpu' };
/** Two shards, the second of another size. */
const SAMPLES = 76;

let server: TestServer;
let workers: TestWorkers;
let spec: EvaluationSpec;

beforeAll(async () => {
  server = await startTestServer();
  const [float, candidate] = [join(server.folder, 'float'), join(server.folder, 'candidate')];
  await writeTinyPipeline(float);
  await writeTinyPipeline(candidate, perturbed(tinyUnet(), 0.02));
  workers = await startTestWorkers(server, QUEUES);
  spec = await tinyEvaluation(workers.store, { candidate, float, out: server.folder }, SAMPLES);
});

afterAll(async () => {
  await workers.stop();
  await server.stop();
});

const evaluate = (id: string) =>
  server.client.workflow.start(EVALUATE_WORKFLOW, {
    workflowId: `evaluate/tiny/${id}`,
    taskQueue: QUEUES.cpu,
    args: [spec, QUEUES],
  });

describe('an evaluation on two workers', () => {
  it('is done by both, and gives what one process gives in one shard', async () => {
    const handle = await evaluate('first');
    const summary = (await handle.result()) as EvaluationSummary;
    expect(summary.stages.every(({ state }) => state === 'done')).toBe(true);
    expect(summary.stages.find(({ id }) => id === 'pictures-candidate')?.summary).toBe('2 shards');
    const { events } = await handle.fetchHistory();
    const by = (events ?? []).flatMap(({ activityTaskStartedEventAttributes: started }) => started?.identity ?? []);
    for (const identity of COMPUTING) expect(by).toContain(identity);
    const written = JSON.parse(await readFile(join(spec.out, 'scores.json'), 'utf8')) as unknown[];
    expect(written.map((score) => scoreSchema.parse(score))).toEqual(summary.scores);
    expect(await readFile(join(spec.out, 'report.html'), 'utf8')).toContain('psnr');

    const bench = await Bench.open();
    try {
      const prompts = await bench.store.putJson('file', new Array<string>(SAMPLES).fill(''));
      const alone = await evaluateInShards(bench, { ...spec, prompts }, 80);
      expect(alone.scores).toEqual(summary.scores);
    } finally {
      await bench.close();
    }
  });

  it('computes nothing again the second time, and its history replays', async () => {
    const handle = await evaluate('second');
    const summary = (await handle.result()) as EvaluationSummary;
    expect(summary.reused).toBe(summary.total);
    const history = await handle.fetchHistory();
    await Worker.runReplayHistory(
      { workflowBundle: { codePath: workflowBundleFile() } },
      history,
      'evaluate/tiny/second',
    );
  });
});
