import {
  ApplicationFailure,
  defineQuery,
  setCurrentDetails,
  setHandler,
  upsertMemo,
  upsertSearchAttributes,
  workflowInfo,
} from '@temporalio/workflow';
import { z } from 'zod';
import type { Activities } from '../contracts/activities.js';
import type { ArtifactRef } from '../contracts/artifact.js';
import type { FailureKind } from '../contracts/errors.js';
import { HEADLINE_MEMO, type StartOptions, startOptionsSchema } from '../contracts/run-control.js';
import { PROGRESS_QUERY, type RunProgress, type RunSummary, SUMMARY_QUERY } from '../contracts/run-summary.js';
import { gateRefusal, gateText, gateVerdict } from '../contracts/sensitivity-gate.js';
import { type RunSpec, runSpecSchema, type StageOutcome } from '../contracts/stages.js';
import { runDetails } from './details.js';
import { type QuantizationEvaluation, QuantizationEvaluations } from './evaluate-quantization.js';
import { evaluationCalls } from './evaluation-calls.js';
import { activitiesOn, parsed } from './proxied-activities.js';
import { reconstructBlocks } from './reconstruct-blocks.js';
import { RunControl } from './run-control.js';
import { emptySummary, progressOf, type StageId } from './run-state.js';

export const progressQuery = defineQuery<RunProgress>(PROGRESS_QUERY);
export const summaryQuery = defineQuery<RunSummary>(SUMMARY_QUERY);

/** Where activities run; the client fills it in from temporal.config.ts. */
export const taskQueuesSchema = z.strictObject({
  cpu: z.string().min(1),
  gpu: z.string().min(1),
  /** Of the machine whose folders are read and written. Runs that were started without one have them on the `cpu` queue. */
  host: z.string().min(1).optional(),
});
export type TaskQueues = z.output<typeof taskQueuesSchema>;

/** Same input, same result, wherever it runs: which worker does it is not part of the run's spec. */
export async function quantizePipeline(
  rawSpec: RunSpec,
  rawQueues: TaskQueues,
  rawOptions?: StartOptions,
): Promise<RunSummary> {
  const spec = parsed(runSpecSchema, rawSpec, 'run spec');
  const queues = parsed(taskQueuesSchema, rawQueues, 'task queues');
  const options = parsed(startOptionsSchema, rawOptions, 'start options');
  return new QuantizeRun(spec, queues, options).execute();
}

/** One execution: what has come out so far, and the order of the stages. */
class QuantizeRun {
  private summary: RunSummary;
  /** The stage that the search attributes name. */
  private toldStage: string | undefined;
  private readonly cpu: ReturnType<typeof activitiesOn>;
  private readonly gpu: ReturnType<typeof activitiesOn>;
  private readonly host: ReturnType<typeof activitiesOn>;
  private readonly control: RunControl;

  constructor(
    private readonly spec: RunSpec,
    private readonly queues: TaskQueues,
    options: StartOptions,
  ) {
    this.cpu = activitiesOn(queues.cpu);
    this.gpu = activitiesOn(queues.gpu);
    this.host = activitiesOn(queues.host ?? queues.cpu);
    this.summary = emptySummary(spec, workflowInfo());
    this.control = new RunControl(options, () => this.show());
    setHandler(progressQuery, () => ({ ...progressOf(this.shown()), pausedSince: this.control.since }));
    setHandler(summaryQuery, () => this.shown());
    upsertSearchAttributes({
      NibbleModel: [spec.pipelineName],
      NibbleRecipe: [spec.recipe.name],
      NibbleWeightBits: [spec.recipe.weights.bits],
      NibbleActivationBits: [spec.recipe.activations.bits],
    });
    this.show();
  }

  async execute(): Promise<RunSummary> {
    const { recipe, compute } = this.spec;
    const imported = await this.stage('import', 'host', 'importPipeline', { spec: this.spec });
    const { pipeline, prompts } = imported;
    const planned = await this.stage('plan', 'cpu', 'planQuantization', { pipeline, prompts, recipe });
    this.update({ plan: planned.plannedSummary });
    const sampling = { pipeline, prompts, recipe, compute };
    const { calibration } = await this.stage('sample', 'gpu', 'sampleTrajectories', sampling);
    const { graph } = await this.stage('transform', 'cpu', 'transformGraph', { pipeline, recipe, calibration });
    const arranging = { graph, plan: planned.plan, calibration, recipe, compute };
    const arranged = this.has('arrange') ? await this.stage('arrange', 'gpu', 'arrangeChannels', arranging) : planned;
    const observing = { ...arranging, plan: arranged.plan };
    const { stats } = await this.stage('observe', 'gpu', 'observeActivations', observing);
    const scanning = { pipeline, graph, plan: arranged.plan, stats, calibration };
    const plan = this.has('sensitivity') ? await this.scan(scanning) : arranged.plan;
    const rounded = await this.stage('round', 'cpu', 'roundWeights', { graph, plan, stats, recipe });
    const parts = { pipeline, graph, plan, calibration };
    const corrected = this.has('correct') ? await this.correct(parts, rounded.parameters) : rounded.parameters;
    const start = this.has('reconstruct') ? await this.reconstruct(parts, corrected) : corrected;
    const finetunes = this.has('finetune');
    const evaluated = { pipeline, prompts, recipe, compute, finetunes };
    const evaluations = new QuantizationEvaluations(evaluationCalls(this.queues, this.control), evaluated);
    await this.evaluate('evaluate-floor', (tell) => evaluations.floor(tell));
    if (this.has('convert-before')) await this.evaluateBefore(parts, start, evaluations);
    const parameters = finetunes ? await this.finetune(parts, start) : start;
    const converting = { pipeline, graph, plan, parameters, recipe };
    const shipped = await this.stage('convert', 'cpu', 'convertPipeline', converting);
    this.update({ denoiserBytes: shipped.denoiserBytes, floatDenoiserBytes: shipped.floatDenoiserBytes });
    await this.evaluate('evaluate', (tell) => evaluations.quantized('evaluate', shipped.pipeline, tell));
    const timing = { reference: pipeline, candidate: shipped.pipeline, compute };
    await this.stage('latency', 'gpu', 'measureLatency', timing);
    return this.report();
  }

  /** Measures the layers one by one; returns the plan, with other bits where the recipe lets them be chosen. */
  private async scan(parts: Scanned): Promise<ArtifactRef> {
    const { recipe, compute } = this.spec;
    const { gate } = recipe.sensitivity;
    const { sensitivity, medianError } = await this.stage('sensitivity', 'gpu', 'measureSensitivity', {
      ...parts,
      recipe,
      compute,
    });
    this.update({ gate: { medianError, verdict: gateVerdict(medianError, gate), text: gateText(medianError, gate) } });
    const refusal = gateRefusal(medianError, gate);
    if (refusal !== null) throw ApplicationFailure.nonRetryable(refusal, 'InvalidRecipe' satisfies FailureKind);
    if (!this.has('mixed-precision')) return parts.plan;
    const choosing = { plan: parts.plan, sensitivity, recipe };
    const chosen = await this.stage('mixed-precision', 'cpu', 'chooseLayerBits', choosing);
    this.update({ plan: chosen.plannedSummary });
    return chosen.plan;
  }

  private async evaluateBefore(
    parts: Parts,
    parameters: ArtifactRef,
    evaluations: QuantizationEvaluations,
  ): Promise<void> {
    const { pipeline, graph, plan } = parts;
    const converting = { pipeline, graph, plan, parameters, recipe: this.spec.recipe };
    const before = await this.stage('convert-before', 'cpu', 'convertPipeline', converting);
    await this.evaluate('evaluate-before', (tell) => evaluations.quantized('evaluate-before', before.pipeline, tell));
  }

  private async correct(parts: Parts, parameters: ArtifactRef): Promise<ArtifactRef> {
    const { graph, plan, calibration } = parts;
    const { recipe, compute } = this.spec;
    const input = { graph, plan, calibration, parameters, recipe, compute };
    const corrected = await this.stage('correct', 'gpu', 'correctParameters', input);
    this.update({ branches: corrected.branches });
    return corrected.parameters;
  }

  /** Many activities, one row: it says how many blocks are done. */
  private async reconstruct(parts: Parts, parameters: ArtifactRef): Promise<ArtifactRef> {
    const { recipe, compute } = this.spec;
    const { pipeline, graph, plan, calibration } = parts;
    this.setRow('reconstruct', { state: 'running' });
    const calls = {
      cutBlocks: this.control.summarized(this.cpu.cutBlocks, () => 'cut the denoiser into blocks'),
      captureBlocks: this.control.summarized(
        this.gpu.captureBlocks,
        ({ from, to }) => `inputs of blocks ${from + 1} to ${to}`,
      ),
      reconstructBlock: this.control.summarized(
        this.gpu.reconstructBlock,
        ({ block }) => `reconstruct block ${block + 1}`,
      ),
      mergeBlocks: this.control.summarized(this.cpu.mergeBlocks, ({ trained }) => `merge ${trained.length} blocks`),
    };
    const input = { pipeline, graph, plan, calibration, parameters, recipe, compute };
    const outcome = await reconstructBlocks(calls, input, (done, total) =>
      this.setRow('reconstruct', { state: 'running', summary: `${done} of ${total} blocks` }),
    );
    this.keepOutcome('reconstruct', outcome);
    return outcome.parameters;
  }

  private async finetune(parts: Parts, parameters: ArtifactRef): Promise<ArtifactRef> {
    const { graph, plan, calibration } = parts;
    const { recipe, compute } = this.spec;
    const input = { graph, plan, calibration, parameters, recipe, compute };
    const tuned = await this.stage('finetune', 'gpu', 'finetuneParameters', input);
    this.update({ validation: tuned.validation, training: tuned.training });
    return tuned.parameters;
  }

  /** Many activities, one row: it says how many shards are done. */
  private async evaluate(
    id: StageId,
    run: (tell: (summary: string) => void) => Promise<QuantizationEvaluation>,
  ): Promise<void> {
    this.setRow(id, { state: 'running' });
    const outcome = await run((summary) => this.setRow(id, { state: 'running', summary }));
    this.keepOutcome(id, outcome);
    this.update({ scores: [...this.summary.scores, outcome.headline] });
    upsertMemo({ [HEADLINE_MEMO]: `PSNR ${outcome.headline.psnrDb.toFixed(2)} dB` });
  }

  private async report(): Promise<RunSummary> {
    const { workflowId, runId } = workflowInfo();
    const { spec, summary } = this;
    const input = { spec, workflowId, runId, artifacts: { ...summary.artifacts }, summary };
    const report = await this.stage('report', 'host', 'renderReport', input);
    this.update({ report: report.report, out: report.out });
    return this.summary;
  }

  /** Runs one activity, with its row, its summary line and its artifacts kept. */
  private async stage<Name extends keyof Activities>(
    id: StageId,
    queue: keyof TaskQueues,
    name: Name,
    input: Parameters<Activities[Name]>[0],
  ): Promise<Awaited<ReturnType<Activities[Name]>>> {
    const title = this.summary.stages.find((row) => row.id === id)?.title ?? id;
    this.setRow(id, { state: 'running' });
    const activity = this[queue][name] as unknown as (
      given: typeof input,
    ) => Promise<Awaited<ReturnType<Activities[Name]>>>;
    const result = await this.control.summarized(activity, () => title.slice(0, 200))(input);
    this.keepOutcome(id, result);
    return result;
  }

  private keepOutcome(id: StageId, result: StageOutcome): void {
    this.keepArtifacts(id, result);
    this.setRow(id, {
      state: result.reused ? 'reused' : 'done',
      summary: result.summary.slice(0, 200),
      seconds: result.seconds,
      workSeconds: result.workSeconds,
    });
  }

  private keepArtifacts(id: StageId, result: StageOutcome): void {
    const found = Object.entries(result).filter((entry): entry is [string, ArtifactRef] => isRef(entry[1]));
    const named = Object.fromEntries(found.map(([name, ref]) => [`${id}.${name}`, ref]));
    this.update({ artifacts: { ...this.summary.artifacts, ...named } });
  }

  private has(id: StageId): boolean {
    return this.summary.stages.some((row) => row.id === id);
  }

  private setRow(id: StageId, change: Partial<RunSummary['stages'][number]>): void {
    const stages = this.summary.stages.map((row) => (row.id === id ? { ...row, ...change } : row));
    this.update({ stages, reused: stages.filter((row) => row.state === 'reused').length });
    if (change.state === 'running') this.control.enter(id);
    const running = stages.find((row) => row.state === 'running');
    if (running === undefined || running.id === this.toldStage) return;
    this.toldStage = running.id;
    upsertSearchAttributes({ NibbleStage: [running.id] });
  }

  private update(change: Partial<RunSummary>): void {
    this.summary = { ...this.summary, ...change };
    this.show();
  }

  private show(): void {
    setCurrentDetails(runDetails(this.shown(), this.control.since));
  }

  /** What people see: a paused stage does not run. */
  private shown(): RunSummary {
    return { ...this.summary, stages: this.control.shown(this.summary.stages) };
  }
}

interface Scanned {
  readonly pipeline: ArtifactRef;
  readonly graph: ArtifactRef;
  readonly plan: ArtifactRef;
  readonly stats: ArtifactRef;
  readonly calibration: ArtifactRef;
}

interface Parts {
  readonly pipeline: ArtifactRef;
  readonly graph: ArtifactRef;
  readonly plan: ArtifactRef;
  readonly calibration: ArtifactRef;
}

function isRef(value: unknown): value is ArtifactRef {
  return typeof value === 'object' && value !== null && 'digest' in value && 'kind' in value;
}
