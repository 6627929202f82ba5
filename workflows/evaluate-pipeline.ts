import { setCurrentDetails, setHandler, upsertMemo, upsertSearchAttributes, workflowInfo } from '@temporalio/workflow';
import type { ArtifactRef } from '../contracts/artifact.js';
import {
  type EvaluationActivities,
  type EvaluationSpec,
  type EvaluationSummary,
  evaluationSpecSchema,
  type SampledSetRefs,
  type ShardSampling,
} from '../contracts/evaluation-activities.js';
import { HEADLINE_MEMO, type StartOptions, startOptionsSchema } from '../contracts/run-control.js';
import type { StageRow } from '../contracts/run-summary.js';
import type { StageOutcome } from '../contracts/stages.js';
import {
  floorSampling,
  keptTrajectories,
  type MadeSet,
  makeSet,
  type SampledSet,
  samplingOf,
} from './evaluate-sets.js';
import { evaluationCalls } from './evaluation-calls.js';
import { evaluationDetails } from './evaluation-details.js';
import { type EvaluationStageId, evaluationRows } from './evaluation-state.js';
import { parsed } from './proxied-activities.js';
import { progressQuery, type TaskQueues, taskQueuesSchema } from './quantize-pipeline.js';
import { evaluationSummaryQuery } from './queries.js';
import { RunControl } from './run-control.js';

/**
 * Evaluates a pipeline folder: pictures of the float pipeline, of the candidate and of the noise floor are sampled shard by
 * shard, on as many workers as there are; features are extracted once; scores are computed from what is kept.
 */
export async function evaluatePipeline(
  rawSpec: EvaluationSpec,
  rawQueues: TaskQueues,
  rawOptions?: StartOptions,
): Promise<EvaluationSummary> {
  const spec = parsed(evaluationSpecSchema, rawSpec, 'evaluation spec');
  const queues = parsed(taskQueuesSchema, rawQueues, 'task queues');
  const options = parsed(startOptionsSchema, rawOptions, 'start options');
  return new EvaluateRun(spec, queues, options).execute();
}

class EvaluateRun {
  private summary: EvaluationSummary;
  private readonly control: RunControl;
  private readonly calls: EvaluationActivities;

  constructor(
    private readonly spec: EvaluationSpec,
    queues: TaskQueues,
    options: StartOptions,
  ) {
    this.control = new RunControl(options, () => this.show());
    this.calls = evaluationCalls(queues, this.control);
    this.summary = emptySummary(spec);
    setHandler(progressQuery, () => {
      const { stages, total } = this.shown();
      const done = stages.filter(({ state }) => state === 'done' || state === 'reused').length;
      return { schemaVersion: 1, done, total, stages, pausedSince: this.control.since };
    });
    setHandler(evaluationSummaryQuery, () => this.shown());
    upsertSearchAttributes({ NibbleModel: [spec.candidate.name], NibbleRecipe: [spec.protocol.name] });
    this.show();
  }

  async execute(): Promise<EvaluationSummary> {
    const { spec } = this;
    const { pipeline: candidate } = await this.single('import', () =>
      this.calls.importFolder({ folder: spec.candidate }),
    );
    const against = spec.against;
    const float =
      against === null
        ? null
        : (await this.single('import-float', () => this.calls.importFolder({ folder: against }))).pipeline;
    const reference = await this.reference();
    const own = float ?? candidate;
    const sampling = samplingOf(spec.protocol, against !== null);
    const hasFloor = float !== null || reference !== null;
    const base = await this.set('float', { pipeline: own, sampling, against: null });
    const compared = base.shards;
    const floorSet = { pipeline: own, sampling: floorSampling(sampling), against: compared };
    const floor = hasFloor ? await this.set('floor', floorSet) : null;
    const evaluated =
      float === null ? base : await this.set('candidate', { pipeline: candidate, sampling, against: compared });
    const comparison = float === null ? null : await this.compare(float, candidate, sampling, base);
    const { latency } = await this.single('latency', () =>
      this.calls.measureLatency({ reference: float, candidate, compute: spec.compute }),
    );
    const floatRefs = float === null ? null : base.refs;
    const sets = { float: floatRefs, candidate: evaluated.refs, floor: floor?.refs ?? null };
    const scored = await this.score(sets, reference, comparison);
    return this.report({ candidate, float, sets, comparison, latency, ...scored, notes: reference?.notes ?? [] });
  }

  private async reference() {
    const { reference, extractor, protocol, compute } = this.spec;
    if (reference === null) return null;
    const input = { reference, extractor, resize: protocol.resize, compute };
    const { features, statistics, notes } = await this.single('import-reference', () =>
      this.calls.importReference(input),
    );
    return { features, statistics, notes: notes.map((note) => `reference: ${note}`) };
  }

  private set(id: 'float' | 'candidate' | 'floor', set: SampledSet): Promise<MadeSet> {
    return makeSet(this.calls, this.spec, set, (step, items, run) => this.sharded(`${step}-${id}`, items, run));
  }

  private async compare(
    reference: ArtifactRef,
    candidate: ArtifactRef,
    sampling: ShardSampling,
    float: MadeSet,
  ): Promise<ArtifactRef | null> {
    if (sampling.trajectories === 0) return null;
    const { protocol, prompts, compute } = this.spec;
    const trajectories = keptTrajectories(protocol, sampling, float);
    const inside = { recipe: null, driftCalls: null };
    const input = { reference, candidate, prompts, sampling, trajectories, inside, compute };
    return (await this.single('compare', () => this.calls.compareDenoisers(input))).comparison;
  }

  private async score(
    sets: { float: SampledSetRefs | null; candidate: SampledSetRefs; floor: SampledSetRefs | null },
    reference: Parameters<EvaluationActivities['scoreEvaluation']>[0]['reference'],
    comparison: ArtifactRef | null,
  ) {
    const { protocol, protocolDigest, extractor, prompts, notes, compute } = this.spec;
    const input = { protocol, protocolDigest, extractor, prompts, ...sets, reference, comparison, notes, compute };
    const { scores, details } = await this.single('score', () => this.calls.scoreEvaluation(input));
    return { scores, details };
  }

  private async report(made: {
    candidate: ArtifactRef;
    float: ArtifactRef | null;
    sets: { float: SampledSetRefs | null; candidate: SampledSetRefs };
    comparison: ArtifactRef | null;
    latency: ArtifactRef;
    scores: ArtifactRef;
    details: ArtifactRef;
    notes: string[];
  }): Promise<EvaluationSummary> {
    const { workflowId, runId } = workflowInfo();
    const { candidate, float, sets, ...rest } = made;
    const input = {
      ...{ spec: this.spec, workflowId, runId, ...rest, candidatePipeline: candidate, floatPipeline: float },
      ...{ candidateImages: sets.candidate.images, floatImages: sets.float?.images ?? null },
      stages: [...this.summary.stages],
    };
    const { report, list } = await this.single('report', () => this.calls.renderEvaluation(input));
    this.update({ report, scores: list });
    const headline = list.find(({ value }) => value !== null);
    if (headline?.value != null) {
      const { name, value, unit } = headline;
      upsertMemo({ [HEADLINE_MEMO]: `${name} ${value.toPrecision(4)}${unit === '' ? '' : ` ${unit}`}` });
    }
    return this.summary;
  }

  private async single<Result extends StageOutcome>(
    id: EvaluationStageId,
    run: () => Promise<Result>,
  ): Promise<Result> {
    const [result] = await this.sharded(id, [undefined], run);
    if (result === undefined) throw new RangeError(`stage ${id} gave nothing`);
    return result;
  }

  /** One row of the table for one or many activities of a kind. */
  private async sharded<Item, Result extends StageOutcome>(
    id: EvaluationStageId,
    items: readonly Item[],
    run: (item: Item, index: number) => Promise<Result>,
  ): Promise<Result[]> {
    this.setRow(id, { state: 'running' });
    let done = 0;
    const results = await Promise.all(
      items.map(async (item, index) => {
        const result = await run(item, index);
        done += 1;
        if (items.length > 1) this.setRow(id, { summary: `${done} of ${items.length} shards` });
        return result;
      }),
    );
    const seconds = results.reduce((sum, result) => sum + result.seconds, 0);
    const isReused = results.every(({ reused }) => reused);
    const summary = results.length === 1 ? (results[0]?.summary ?? '') : `${results.length} shards`;
    this.setRow(id, { state: isReused ? 'reused' : 'done', seconds, summary: summary.slice(0, 200) });
    return results;
  }

  private setRow(id: string, change: Partial<StageRow>): void {
    const stages = this.summary.stages.map((row) => (row.id === id ? { ...row, ...change } : row));
    this.update({ stages, reused: stages.filter(({ state }) => state === 'reused').length });
    if (change.state !== 'running') return;
    this.control.enter(id);
    upsertSearchAttributes({ NibbleStage: [id] });
  }

  private update(change: Partial<EvaluationSummary>): void {
    this.summary = { ...this.summary, ...change };
    this.show();
  }

  private show(): void {
    setCurrentDetails(evaluationDetails(this.shown(), this.control.since));
  }

  /** What people see: a paused stage does not run. */
  private shown(): EvaluationSummary {
    return { ...this.summary, stages: this.control.shown(this.summary.stages) };
  }
}

function emptySummary(spec: EvaluationSpec): EvaluationSummary {
  const { workflowId, runId } = workflowInfo();
  const stages = evaluationRows(spec);
  return {
    schemaVersion: 1,
    kind: 'evaluation',
    workflowId,
    runId,
    pipeline: spec.candidate.name,
    against: spec.against?.name ?? null,
    protocol: spec.protocol.name,
    protocolDigest: spec.protocolDigest,
    device: spec.compute.device,
    samples: spec.protocol.samples,
    out: spec.out,
    report: null,
    reused: 0,
    total: stages.length,
    stages,
    scores: [],
  };
}
