import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ACTIVITY_FACTORIES } from '../../activities/activity-factories.js';
import { createActivities } from '../../activities/create-activities.js';
import { EnginePool } from '../../activities/engine-pool.js';
import { oneAtATime } from '../../activities/one-at-a-time.js';
import type { StageHost } from '../../activities/stage-host.js';
import { digestFolder } from '../../activities/store/folder-digest.js';
import { LocalStore } from '../../activities/store/local-store.js';
import type { Activities } from '../../contracts/activities.js';
import type { ArtifactRef } from '../../contracts/artifact.js';
import { asksForCorrections, type RecipeInput, recipeSchema } from '../../contracts/recipe.js';
import type { RunSpec, StageOutcome } from '../../contracts/stages.js';
import { QuantizationEvaluations } from '../../workflows/evaluate-quantization.js';
import { FAILURE_POLICIES } from '../../workflows/policies.js';
import { reconstructBlocks } from '../../workflows/reconstruct-blocks.js';

/** The activities on a store of their own, run without Temporal: the frame's host is a stand-in, everything else is real. */
export class Bench {
  readonly activities: Activities;
  /** Aborts the stage that runs. */
  abort = new AbortController();
  /** Sees every heartbeat. */
  onHeartbeat: (details: unknown) => void = () => undefined;

  private constructor(
    readonly folder: string,
    readonly store: LocalStore,
    private readonly engines: EnginePool,
  ) {
    const host = (): StageHost => ({
      run: 'test',
      signal: this.abort.signal,
      heartbeat: (details) => this.onHeartbeat(details),
    });
    const deps = { store, engines, policies: FAILURE_POLICIES, facts: {}, host };
    this.activities = createActivities(deps, ACTIVITY_FACTORIES);
  }

  static async open(): Promise<Bench> {
    const folder = await mkdtemp(join(tmpdir(), 'nibbleflow-chain-'));
    return new Bench(folder, await LocalStore.open(join(folder, 'store')), new EnginePool());
  }

  async close(): Promise<void> {
    await this.engines.close();
    await rm(this.folder, { recursive: true, force: true });
  }

  /** Runs a stage that is aborted at its first checkpoint; returns what it failed with. */
  async interrupted(run: () => Promise<unknown>): Promise<unknown> {
    const cause = new Error('interrupted by the test');
    this.onHeartbeat = (details) => {
      if ((details as { checkpoint: ArtifactRef | null }).checkpoint !== null) this.abort.abort(cause);
    };
    const failure = await run().catch((error: unknown) => error);
    this.onHeartbeat = () => undefined;
    this.abort = new AbortController();
    return failure === cause ? cause : new Error(`the stage ended with ${String(failure)}`);
  }
}

export const ZOO = fileURLToPath(new URL('../../models/zoo/emoji-t2i', import.meta.url));

/** Tiny settings: seconds instead of minutes, the same code. */
export async function tinySpec(out: string, change: RecipeInput = {}, source = ZOO): Promise<RunSpec> {
  const recipe = recipeSchema.parse({
    name: 'tiny',
    sampling: { steps: 3 },
    calibration: { trajectories: 4, timesteps: 3 },
    evaluation: { samples: 10, timestepPairs: 16 },
    finetuning: {
      batchSize: 4,
      validateEvery: 2,
      phases: [{ name: 'time', layers: ['time-embedding', 'attention-projection'], steps: 4 }],
    },
    ...change,
  });
  const { digest } = await digestFolder(source);
  const compute = { device: 'cpu' as const, threads: 1 };
  return { source, sourceDigest: digest, pipelineName: basename(source), recipe, out, compute, prompts: null };
}

export interface Chain {
  readonly outcomes: Readonly<Record<string, StageOutcome>>;
  readonly artifacts: Readonly<Record<string, ArtifactRef>>;
}

/** Runs the stages in the workflow's order. `around` may wrap a stage. */
export async function runChain(
  { activities }: Bench,
  spec: RunSpec,
  around: (id: string, run: () => Promise<StageOutcome>) => Promise<StageOutcome> = (_, run) => run(),
): Promise<Chain> {
  const { recipe, compute } = spec;
  const outcomes: Record<string, StageOutcome> = {};
  const artifacts: Record<string, ArtifactRef> = {};
  const stage = async <Result extends StageOutcome>(id: string, run: () => Promise<Result>): Promise<Result> => {
    const result = (await around(id, run)) as Result;
    outcomes[id] = result;
    for (const [name, value] of Object.entries(result)) {
      if (typeof value === 'object' && value !== null && 'digest' in value) artifacts[`${id}.${name}`] = value;
    }
    return result;
  };
  const { pipeline, prompts } = await stage('import', () => activities.importPipeline({ spec }));
  const { plan } = await stage('plan', () => activities.planQuantization({ pipeline, prompts, recipe }));
  const { calibration } = await stage('sample', () =>
    activities.sampleTrajectories({ pipeline, prompts, recipe, compute }),
  );
  const { graph } = await stage('transform', () => activities.transformGraph({ pipeline, recipe, calibration }));
  const { stats } = await stage('observe', () =>
    activities.observeActivations({ graph, plan, calibration, recipe, compute }),
  );
  const rounded = await stage('round', () => activities.roundWeights({ graph, plan, stats, recipe }));
  const correcting = { graph, plan, calibration, parameters: rounded.parameters, recipe, compute };
  const corrected = asksForCorrections(recipe)
    ? await stage('correct', () => activities.correctParameters(correcting))
    : rounded;
  const start = recipe.reconstruction.enabled
    ? await stage('reconstruct', () =>
        reconstructBlocks(
          { ...activities, reconstructBlock: oneAtATime(activities.reconstructBlock) },
          {
            ...{ pipeline, graph, plan, calibration, recipe, compute },
            parameters: corrected.parameters,
          },
        ),
      )
    : corrected;
  const finetunes = recipe.finetuning.enabled;
  const evaluated = { pipeline, prompts, recipe, compute, finetunes };
  const evaluations = new QuantizationEvaluations(activities, evaluated);
  const tell = () => undefined;
  await stage('evaluate-floor', () => evaluations.floor(tell));
  const finetuning = { graph, plan, calibration, parameters: start.parameters, recipe, compute };
  const tuned = finetunes
    ? await stage('finetune', () => activities.finetuneParameters(finetuning))
    : { parameters: start.parameters, validation: null, training: null };
  const shipped = await stage('convert', () =>
    activities.convertPipeline({ pipeline, graph, plan, parameters: tuned.parameters, recipe }),
  );
  await stage('evaluate', () => evaluations.quantized('evaluate', shipped.pipeline, tell));
  const { validation, training } = tuned;
  const rows = Object.entries(outcomes).map(([id, { summary, seconds }]) => ({
    id,
    title: id,
    state: 'done',
    summary,
    seconds,
  }));
  const summary = { stages: rows, validation, training };
  await stage('report', () =>
    activities.renderReport({ spec, workflowId: 'test', runId: 'run', artifacts: { ...artifacts }, summary }),
  );
  return { outcomes, artifacts };
}
