import { join } from 'node:path';
import type { WorkflowHandle } from '@temporalio/client';
import { DefaultLogger, NativeConnection, Runtime, Worker } from '@temporalio/worker';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import type { ActivityFactories } from '../../activities/create-activities.js';
import { createActivities } from '../../activities/create-activities.js';
import { EnginePool } from '../../activities/engine-pool.js';
import { type ActivityDeps, runStage, type StageContext } from '../../activities/stage-frame.js';
import { LocalStore } from '../../activities/store/local-store.js';
import { runEndOf } from '../../cli/run-failure.js';
import { workflowBundleFile } from '../../cli/server/workflow-bundle-file.js';
import type { ArtifactKind, ArtifactRef } from '../../contracts/artifact.js';
import { NibbleflowError } from '../../contracts/errors.js';
import { protocolSchema } from '../../contracts/protocol.js';
import { recipeSchema } from '../../contracts/recipe.js';
import { PROGRESS_QUERY, QUANTIZE_WORKFLOW, type RunProgress, type RunSummary } from '../../contracts/run-summary.js';
import type { RunSpec, Stage } from '../../contracts/stages.js';
import { FAILURE_POLICIES } from '../../workflows/policies.js';
import { startTestServer, type TestServer } from './temporal-for-tests.js';

/**
 * The order of a run, its retries and what it shows, on a real server with the real frame and store. The bodies here only
 * store a few bytes each: the real ones have tests of their own.
 */

/** What a test does inside a stage, before its result is stored. */
type Interference = (stage: Stage, context: StageContext) => Promise<void>;
let interfere: Interference = async () => undefined;
const order: string[] = [];

function body<Extra extends object>(stage: Stage, kinds: Record<string, ArtifactKind>, extra: (input: never) => Extra) {
  return (deps: ActivityDeps) => (rawInput: unknown) =>
    runStage(deps, { stage, version: 1, input: z.looseObject({}), key: keyOf }, rawInput, async (input, context) => {
      order.push(stage);
      await interfere(stage, context);
      const refs: Record<string, ArtifactRef> = {};
      for (const [name, kind] of Object.entries(kinds)) {
        refs[name] = await context.store.put(
          kind,
          new TextEncoder().encode(`${stage} ${name} ${JSON.stringify(keyOf(input))}`),
        );
      }
      return { summary: `${stage} done`, ...refs, ...extra(input as never) };
    });
}

/** Ids of the run and its summary do not decide results. */
function keyOf(input: Record<string, unknown>): unknown {
  const { workflowId: _w, runId: _r, summary: _s, artifacts: _a, ...rest } = input;
  return rest;
}

const coverage = { layers: 1, parameters: 1, macs: 1 };
/** Two shards. */
const SAMPLES = 76;
const plannedSummary = { layers: 2, quantizedLayers: 2, skippedLayers: 0, coverage, floatBytes: 8, estimatedBytes: 1 };
const chosenSummary = { ...plannedSummary, estimatedBytes: 2 };
const scores = {
  psnrDb: 20,
  ssim: 0.9,
  latentSqnrDb: 9,
  frechetToFloat: 1,
  frechetToReference: 2,
  denoiserRelativeMse: 0.1,
};
const factories = {
  importPipeline: body('import', { pipeline: 'file', prompts: 'file' }, () => ({})),
  planQuantization: body('plan', { plan: 'plan' }, () => ({ plannedSummary })),
  sampleTrajectories: body('sample', { calibration: 'calibration' }, () => ({})),
  transformGraph: body('transform', { graph: 'graph' }, () => ({})),
  observeActivations: body('observe', { stats: 'stats' }, () => ({})),
  measureSensitivity: body('sensitivity', { sensitivity: 'sensitivity' }, () => ({ medianError: 0.3 })),
  chooseLayerBits: body('mixed-precision', { plan: 'plan' }, () => ({ plannedSummary: chosenSummary })),
  roundWeights: body('round', { parameters: 'parameters' }, () => ({})),
  cutBlocks: body('reconstruct', { blocks: 'blocks' }, () => ({ count: 5 })),
  captureBlocks: body('reconstruct', {}, (input: { from: number; to: number; blocks: ArtifactRef }) => ({
    data: new Array<ArtifactRef>(input.to - input.from).fill(input.blocks),
  })),
  reconstructBlock: body('reconstruct', { trained: 'trained-block' }, () => ({ before: 0.2, after: 0.1 })),
  mergeBlocks: body('reconstruct', { parameters: 'parameters' }, () => ({})),
  finetuneParameters: body('finetune', { parameters: 'parameters' }, () => ({
    validation: { before: 2, after: 1 },
    training: { before: 2, after: 1 },
    steps: 4,
  })),
  convertPipeline: body('convert', { pipeline: 'file' }, () => ({ denoiserBytes: 1, floatDenoiserBytes: 8 })),
  planEvaluation: body('evaluate', { texts: 'file', protocol: 'file', reference: 'file' }, () => ({
    settings: protocolSchema.parse({ name: 'quantization', samples: SAMPLES, trajectories: 64 }),
    protocolDigest: '0'.repeat(64),
    extractor: { name: 'any', folder: 'any', sha256: '0'.repeat(64), description: '0'.repeat(64) },
  })),
  sampleShard: body('pictures', { images: 'images', trajectories: 'trajectories' }, () => ({})),
  extractShard: body('features', { features: 'file' }, () => ({})),
  listShards: body('pictures', { list: 'file' }, () => ({})),
  compareDenoisers: body('compare', { comparison: 'comparison' }, () => ({ arithmetic: 'shipped' })),
  scoreEvaluation: body('score', { scores: 'scores', details: 'scores' }, (input: { float: unknown }) => ({
    headline: input.float === null ? null : scores,
  })),
  measureLatency: body('latency', { latency: 'comparison' }, () => ({})),
  renderReport: body('report', { reportRef: 'report' }, (input: { spec: RunSpec }) => ({
    out: input.spec.out,
    report: join(input.spec.out, 'report.html'),
  })),
} as unknown as ActivityFactories;

let server: TestServer;
let engines: EnginePool;
let connection: NativeConnection;
let workers: Worker[];
let running: Promise<unknown>;
const queues = { cpu: 'test-cpu', gpu: 'test-gpu' };

beforeAll(async () => {
  Runtime.install({ logger: new DefaultLogger('ERROR') });
  server = await startTestServer();
  engines = new EnginePool();
  const store = await LocalStore.open(join(server.folder, 'store'));
  const activities = createActivities({ store, engines, policies: FAILURE_POLICIES, facts: {} }, factories);
  connection = await NativeConnection.connect({ address: server.address });
  const common = { connection, activities, maxHeartbeatThrottleInterval: 200 };
  const workflowBundle = { codePath: workflowBundleFile() };
  workers = await Promise.all([
    Worker.create({ ...common, taskQueue: queues.cpu, workflowBundle }),
    Worker.create({ ...common, taskQueue: queues.gpu, maxConcurrentActivityTaskExecutions: 1 }),
  ]);
  running = Promise.all(workers.map((worker) => worker.run()));
});

afterAll(async () => {
  for (const worker of workers) worker.shutdown();
  await running;
  await connection.close();
  await engines.close();
  await server.stop();
});

function spec(name: string, change: object = {}): RunSpec {
  const phases = [{ name: 'time', layers: ['time-embedding' as const], steps: 4 }];
  return {
    source: '/pipelines/tiny',
    sourceDigest: name,
    pipelineName: 'tiny',
    recipe: recipeSchema.parse({ name, finetuning: { phases }, ...change }),
    out: '/out/tiny',
    compute: { device: 'cpu', threads: 1 },
    prompts: null,
  };
}

function start(runSpec: unknown, workflowId: string): Promise<WorkflowHandle> {
  return server.client.workflow.start(QUANTIZE_WORKFLOW, {
    workflowId,
    taskQueue: queues.cpu,
    args: [runSpec, queues],
    workflowIdConflictPolicy: 'USE_EXISTING',
  });
}

/** Activities of a set of two shards: pictures, features, three lists. */
const SET = [...['pictures', 'pictures'], ...['features', 'features'], ...['pictures', 'pictures', 'pictures']];
/** Float pictures, noise floor, and what the float pictures and the floor score. */
const FLOOR = ['evaluate', ...SET, ...SET, 'score', 'score'];
const QUANTIZED = [...SET, 'compare', 'score'];

const ALL_STAGES = [
  ...['import', 'plan', 'sample', 'transform', 'observe', 'round', ...FLOOR, 'convert', ...QUANTIZED],
  ...['finetune', 'convert', ...QUANTIZED, 'latency', 'report'],
];

describe('the quantize workflow', () => {
  it('runs every stage in order, then finds every one of them in the store', async () => {
    order.length = 0;
    const first = (await (await start(spec('whole'), 'quantize/tiny/whole/1')).result()) as RunSummary;
    expect(order).toEqual(ALL_STAGES);
    expect(first).toMatchObject({
      total: 14,
      reused: 0,
      report: '/out/tiny/report.html',
      validation: { before: 2, after: 1 },
    });
    expect(first.scores.map((score) => score.label)).toEqual([
      'noise floor (float, other seeds)',
      'before finetuning',
      'finetuned',
    ]);
    const second = (await (await start(spec('whole'), 'quantize/tiny/whole/1')).result()) as RunSummary;
    expect(order).toEqual(ALL_STAGES);
    expect(second).toMatchObject({ total: 14, reused: 14 });
    expect(second.artifacts).toEqual(first.artifacts);
    expect(second.runId).not.toBe(first.runId);
  });

  it('leaves finetuning and the comparison with it out when the recipe has none', async () => {
    order.length = 0;
    const runSpec = spec('plain', { finetuning: { enabled: false } });
    const summary = (await (await start(runSpec, 'quantize/tiny/plain/1')).result()) as RunSummary;
    expect(order).toEqual([
      'import',
      'plan',
      'sample',
      'transform',
      'observe',
      'round',
      ...FLOOR,
      'convert',
      ...QUANTIZED,
      'latency',
      'report',
    ]);
    expect(summary.scores.map((score) => score.label)).toEqual(['noise floor (float, other seeds)', 'quantized']);
    expect(summary.validation).toBeNull();
  });

  it('scans before rounding, goes on with the plan whose bits were chosen, and says what its gate found', async () => {
    order.length = 0;
    const sensitivity = { enabled: true, bits: [4, 8] };
    const change = { finetuning: { enabled: false }, sensitivity, mixedPrecision: { method: 'greedy' } };
    const handle = await start(spec('scanned', change), 'quantize/tiny/scanned/1');
    const summary = (await handle.result()) as RunSummary;
    expect(order.slice(4, 8)).toEqual(['observe', 'sensitivity', 'mixed-precision', 'round']);
    expect(summary.gate).toMatchObject({ medianError: 0.3, verdict: 'doomed' });
    expect(summary.plan).toEqual(chosenSummary);
    const { events } = await handle.fetchHistory();
    const rounding = events
      ?.map((event) => event.activityTaskScheduledEventAttributes)
      .find((attributes) => attributes?.activityType?.name === 'roundWeights');
    const input = Buffer.from(rounding?.input?.payloads?.[0]?.data ?? []).toString('utf8');
    expect(input).toContain(summary.artifacts['mixed-precision.plan']?.digest);
    const metadata = await handle.query<{ currentDetails: string }>('__temporal_workflow_metadata');
    expect(metadata.currentDetails).toContain('median layer error 0.300');
  });

  it('refuses a doomed run before it spends its time when the recipe says so', async () => {
    order.length = 0;
    const change = { sensitivity: { enabled: true, bits: [], gate: { stop: true } } };
    const error = await (await start(spec('doomed', change), 'quantize/tiny/doomed/1'))
      .result()
      .catch((caught: unknown) => caught);
    expect(runEndOf(error)).toMatchObject({ state: 'failed', kind: 'InvalidRecipe' });
    expect(runEndOf(error)).toMatchObject({ message: expect.stringContaining('median layer error 0.300') });
    expect(order.at(-1)).toBe('sensitivity');
  });

  it('reconstructs blocks in waves: those of a wave at the same time, each wave behind the one before', async () => {
    order.length = 0;
    const runSpec = spec('rebuilt', { finetuning: { enabled: false }, reconstruction: { enabled: true, wave: 2 } });
    const handle = await start(runSpec, 'quantize/tiny/rebuilt/1');
    const summary = (await handle.result()) as RunSummary;
    const [cut, blocks, waves] = [1, 5, 3];
    const activities = cut + blocks + 2 * waves;
    expect(order.slice(5)).toEqual([
      ...['round', ...new Array<string>(activities).fill('reconstruct')],
      ...[...FLOOR, 'convert', ...QUANTIZED, 'latency', 'report'],
    ]);
    const row = summary.stages.find(({ id }) => id === 'reconstruct');
    expect(row).toMatchObject({
      state: 'done',
      title: 'reconstruct block by block, 200 steps each',
      summary: '5 of 5 blocks closer to the float network, by 3.01 dB on average',
    });
    expect(summary.artifacts['reconstruct.parameters']).toBeDefined();
    const { events } = await handle.fetchHistory();
    const types = (events ?? []).flatMap((event) => {
      const scheduled = event.activityTaskScheduledEventAttributes?.activityType?.name;
      if (scheduled !== undefined && scheduled !== null) return [scheduled];
      return event.activityTaskCompletedEventAttributes === null ? [] : ['completed'];
    });
    const wave = ['captureBlocks', 'completed', 'reconstructBlock', 'reconstructBlock', 'completed', 'completed'];
    const rest = ['captureBlocks', 'completed', 'reconstructBlock', 'completed', 'mergeBlocks', 'completed'];
    const from = types.indexOf('cutBlocks');
    const expected = [
      'cutBlocks',
      'completed',
      ...wave,
      'mergeBlocks',
      'completed',
      ...wave,
      'mergeBlocks',
      'completed',
    ];
    expect(types.slice(from, from + 24)).toEqual([...expected, ...rest]);
    const again = (await (await start(runSpec, 'quantize/tiny/rebuilt/1')).result()) as RunSummary;
    expect(again.stages.find(({ id }) => id === 'reconstruct')).toMatchObject({ state: 'reused', seconds: 0 });
  });

  it('fails at once with InvalidRecipe when somebody starts it with nonsense', async () => {
    const handle = await start({ ...spec('bad'), recipe: { weights: { bits: 99 } } }, 'quantize/tiny/bad/1');
    const error = await handle.result().catch((caught: unknown) => caught);
    expect(runEndOf(error)).toMatchObject({ state: 'failed', kind: 'InvalidRecipe' });
    expect(runEndOf(error)).toMatchObject({ message: expect.stringContaining('weights.bits') });
  });

  it('attaches to the run of the same id instead of starting a second', async () => {
    const one = await start(spec('twice'), 'quantize/tiny/twice/1');
    const two = await start(spec('twice'), 'quantize/tiny/twice/1');
    expect((await two.describe()).runId).toBe((await one.describe()).runId);
    await one.result();
  });

  it('retries a crashed engine with the checkpoint, and fails at once without a loss', async () => {
    let crashes = 0;
    let resumedFrom: number | undefined;
    interfere = async (stage, context) => {
      if (stage !== 'finetune') return;
      resumedFrom = (await context.checkpoint.load())?.[0];
      await context.checkpoint.save(new Uint8Array([17]));
      crashes += 1;
      if (crashes === 1) throw new NibbleflowError('EngineCrashed', 'killed');
    };
    await (await start(spec('crash'), 'quantize/tiny/crash/1')).result();
    expect(resumedFrom).toBe(17);
    interfere = async (stage) => {
      if (stage === 'finetune') throw new NibbleflowError('NonFiniteLoss', 'the loss is NaN at step 3');
    };
    const error = await (await start(spec('nan'), 'quantize/tiny/nan/1')).result().catch((caught: unknown) => caught);
    expect(runEndOf(error)).toEqual({ state: 'failed', kind: 'NonFiniteLoss', message: 'the loss is NaN at step 3' });
    interfere = async () => undefined;
  });

  it('shows where it is: query, search attributes, summaries and details', async () => {
    let release: () => void = () => undefined;
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    let reached: () => void = () => undefined;
    const atSampling = new Promise<void>((resolve) => {
      reached = resolve;
    });
    interfere = async (stage) => {
      if (stage !== 'sample') return;
      reached();
      await held;
    };
    const handle = await start(spec('shown'), 'quantize/tiny/shown/1');
    await atSampling;
    const progress = await handle.query<RunProgress>(PROGRESS_QUERY);
    expect(progress).toMatchObject({ done: 2, total: 14 });
    expect(progress.stages.find((row) => row.state === 'running')?.id).toBe('sample');
    const metadata = await handle.query<{ currentDetails: string }>('__temporal_workflow_metadata');
    expect(metadata.currentDetails).toContain('| ▶ | sample 128 float trajectories |');
    const { searchAttributes, raw } = await handle.describe();
    expect(searchAttributes).toMatchObject({
      NibbleModel: ['tiny'],
      NibbleRecipe: ['shown'],
      NibbleStage: ['sample'],
      NibbleWeightBits: [4],
      NibbleActivationBits: [4],
    });
    expect(raw.pendingActivities?.[0]?.activityType?.name).toBe('sampleTrajectories');
    release();
    await handle.result();
    interfere = async () => undefined;
    const { events } = await handle.fetchHistory();
    const queue = (type: string): unknown =>
      events?.find((event) => event.activityTaskScheduledEventAttributes?.activityType?.name === type)
        ?.activityTaskScheduledEventAttributes?.taskQueue?.name;
    expect([queue('sampleTrajectories'), queue('roundWeights')]).toEqual([queues.gpu, queues.cpu]);
  });

  it('stops the running stage when it is cancelled', async () => {
    let stopped = false;
    let reached: () => void = () => undefined;
    const atObservation = new Promise<void>((resolve) => {
      reached = resolve;
    });
    interfere = async (stage, context) => {
      if (stage !== 'observe') return;
      reached();
      await new Promise<void>((_, reject) => {
        context.signal.addEventListener('abort', () => {
          stopped = true;
          reject(context.signal.reason);
        });
      });
    };
    const handle = await start(spec('cancelled'), 'quantize/tiny/cancelled/1');
    await atObservation;
    await handle.cancel();
    const error = await handle.result().catch((caught: unknown) => caught);
    expect(runEndOf(error)).toEqual({ state: 'cancelled' });
    expect(stopped).toBe(true);
    interfere = async () => undefined;
  });

  it('is deterministic: histories of whole, retried, failed and cancelled runs replay without a difference', async () => {
    const ids = ['whole', 'rebuilt', 'scanned', 'crash', 'nan', 'cancelled'].map((name) => `quantize/tiny/${name}/1`);
    for (const workflowId of ids) {
      const history = await server.client.workflow.getHandle(workflowId).fetchHistory();
      expect(history.events?.length).toBeGreaterThan(10);
      await Worker.runReplayHistory({ workflowBundle: { codePath: workflowBundleFile() } }, history, workflowId);
    }
  });
});
