import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { oneAtATime } from '../../activities/one-at-a-time.js';
import { QUANTIZE_WORKFLOW, type RunSummary } from '../../contracts/run-summary.js';
import type { RunSpec } from '../../contracts/stages.js';
import { reconstructBlocks } from '../../workflows/reconstruct-blocks.js';
import { Bench, tinySpec } from '../activities/run-chain.js';
import { writeTinyPipeline } from '../fixtures/tiny-pipeline.js';
import { startTestServer, type TestServer } from './temporal-for-tests.js';
import { COMPUTING, startTestWorkers, type TestWorkers } from './workers-for-tests.js';

/** A whole run on a real server with the real activities: blocks are trained by two workers at the same time. */

const QUEUES = { cpu: 'blocks-cpu', gpu: 'blocks-gpu' };

let server: TestServer;
let workers: TestWorkers;
let spec: RunSpec;

beforeAll(async () => {
  server = await startTestServer();
  const folder = join(server.folder, 'tiny');
  await writeTinyPipeline(folder);
  spec = await tinySpec(
    join(server.folder, 'out'),
    {
      weights: { granularity: 'channel' },
      activations: { ranges: 'timestep', groupSize: null },
      finetuning: { enabled: false },
      reconstruction: { enabled: true, steps: 10, samples: 16, batchSize: 8, wave: 4, scales: 'joint', inputMix: 0.5 },
    },
    folder,
  );
  workers = await startTestWorkers(server, QUEUES);
});

afterAll(async () => {
  await workers.stop();
  await server.stop();
});

describe('blocks on two workers', () => {
  it('are trained by both, and give what one after the other gives', async () => {
    const options = { workflowId: 'quantize/tiny/blocks/1', taskQueue: QUEUES.cpu, args: [spec, QUEUES] };
    const handle = await server.client.workflow.start(QUANTIZE_WORKFLOW, options);
    const summary = (await handle.result()) as RunSummary;
    const row = summary.stages.find(({ id }) => id === 'reconstruct');
    expect(row).toMatchObject({
      state: 'done',
      summary: expect.stringContaining('blocks closer to the float network'),
    });
    expect(summary.scores.map(({ label }) => label)).toEqual(['noise floor (float, other seeds)', 'quantized']);
    const { events } = await handle.fetchHistory();
    const blocks = (events ?? []).filter(
      (event) => event.activityTaskScheduledEventAttributes?.activityType?.name === 'reconstructBlock',
    );
    const ids = new Set(blocks.map(({ eventId }) => String(eventId)));
    const by = (events ?? []).flatMap(({ activityTaskStartedEventAttributes: started }) =>
      ids.has(String(started?.scheduledEventId)) ? [started?.identity] : [],
    );
    expect(by.length).toBe(blocks.length);
    expect(new Set(by)).toEqual(new Set(COMPUTING));

    const bench = await Bench.open();
    try {
      const { activities } = bench;
      const { recipe, compute } = spec;
      const { pipeline, prompts } = await activities.importPipeline({ spec });
      const { plan } = await activities.planQuantization({ pipeline, prompts, recipe });
      const { calibration } = await activities.sampleTrajectories({ pipeline, prompts, recipe, compute });
      const { graph } = await activities.transformGraph({ pipeline, recipe });
      const { stats } = await activities.observeActivations({ graph, plan, calibration, recipe, compute });
      const { parameters } = await activities.roundWeights({ graph, plan, stats, recipe });
      const calls = { ...activities, reconstructBlock: oneAtATime(activities.reconstructBlock) };
      const input = { pipeline, graph, plan, calibration, parameters, recipe, compute };
      const alone = await reconstructBlocks(calls, input);
      expect(summary.artifacts['reconstruct.parameters']).toEqual(alone.parameters);
    } finally {
      await bench.close();
    }
  });
});
