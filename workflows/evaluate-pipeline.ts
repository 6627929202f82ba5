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
import { evaluationDetails } from './evaluation-details.js';
import { type EvaluationStageId, evaluationRows, shardsOf } from './evaluation-state.js';
import { activitiesOn, parsed } from './proxied-activities.js';
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

interface SampledSet {
  readonly id: 'float' | 'candidate' | 'floor';
  readonly pipeline: ArtifactRef;
  readonly sampling: ShardSampling;
  /** Of the float shards; null: these are they. */
  readonly against: readonly ArtifactRef[] | null;
}

interface MadeSet {
  /** Trajectories of each shard. */
  readonly shards: readonly ArtifactRef[];
  readonly refs: SampledSetRefs;
}

class EvaluateRun {
  private summary: EvaluationSummary;
  private readonly control: RunControl;
  private readonly calls: EvaluationActivities;
  private readonly shards: readonly { readonly first: number; readonly end: number }[];

  constructor(
    private readonly spec: EvaluationSpec,
    queues: TaskQueues,
    options: StartOptions,
  ) {
    this.control = new RunControl(options, () => this.show());
    this.calls = callsOf(queues, this.control);
    this.shards = shardsOf(spec.protocol);
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
    const sampling = samplingOf(spec);
    const hasFloor = float !== null || reference !== null;
    const base = await this.set({ id: 'float', pipeline: own, sampling, against: null });
    const compared = base.shards;
    const floorSampling = { ...sampling, seed: sampling.seed + 1 };
    const floorSet: SampledSet = { id: 'floor', pipeline: own, sampling: floorSampling, against: compared };
    const floor = hasFloor ? await this.set(floorSet) : null;
    const evaluated =
      float === null ? base : await this.set({ id: 'candidate', pipeline: candidate, sampling, against: compared });
    const comparison = float === null ? null : await this.compare(float, candidate, sampling, compared);
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

  /** All shards of a set at once: workers take them as they are free. */
  private async set(set: SampledSet): Promise<MadeSet> {
    const { extractor, protocol, compute, prompts } = this.spec;
    const sampled = await this.sharded(`pictures-${set.id}`, this.shards, ({ first, end }, index) => {
      const against = set.against === null ? null : (set.against[index] ?? null);
      const input = { pipeline: set.pipeline, prompts, sampling: set.sampling, first, end, against, compute };
      return this.calls.sampleShard(input);
    });
    const extracted = await this.sharded(`features-${set.id}`, sampled, ({ images }) =>
      this.calls.extractShard({ images, extractor, resize: protocol.resize, compute }),
    );
    const shards = sampled.map(({ trajectories }) => trajectories);
    const [images, trajectories, features] = await Promise.all([
      this.listed(sampled.map(({ images }) => images)),
      this.listed(shards),
      this.listed(extracted.map(({ features }) => features)),
    ]);
    return { shards, refs: { images, trajectories, features } };
  }

  private async listed(shards: ArtifactRef[]): Promise<ArtifactRef> {
    return (await this.calls.listShards({ shards })).list;
  }

  private async compare(
    reference: ArtifactRef,
    candidate: ArtifactRef,
    sampling: ShardSampling,
    trajectories: readonly ArtifactRef[],
  ): Promise<ArtifactRef | null> {
    if (sampling.trajectories === 0) return null;
    const { prompts, compute } = this.spec;
    const kept = trajectories.slice(0, this.shards.filter(({ first }) => first < sampling.trajectories).length);
    const input = { reference, candidate, prompts, sampling, trajectories: kept, compute };
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

/** Every activity with its queue and with what the UI shows beside it. */
function callsOf(queues: TaskQueues, control: RunControl): EvaluationActivities {
  const cpu = activitiesOn(queues.cpu);
  const gpu = activitiesOn(queues.gpu);
  const host = activitiesOn(queues.host ?? queues.cpu);
  return {
    importFolder: control.summarized(host.importFolder, ({ folder }) => `import ${folder.name}`),
    importReference: control.summarized(
      host.importReference,
      ({ reference }) => `read the reference ${reference.name}`,
    ),
    sampleShard: control.summarized(gpu.sampleShard, ({ first, end }) => `sample pictures ${first} to ${end - 1}`),
    extractShard: control.summarized(gpu.extractShard, ({ extractor }) => `features by ${extractor.name}`),
    listShards: control.summarized(cpu.listShards, ({ shards }) => `list ${shards.length} shards`),
    compareDenoisers: control.summarized(gpu.compareDenoisers, () => 'compare denoiser and layers'),
    measureLatency: control.summarized(gpu.measureLatency, () => 'time the denoisers'),
    scoreEvaluation: control.summarized(gpu.scoreEvaluation, () => 'score'),
    renderEvaluation: control.summarized(host.renderEvaluation, ({ spec }) => `write ${spec.out}`.slice(0, 200)),
  };
}

function samplingOf({ protocol, against }: EvaluationSpec): ShardSampling {
  const { samples, seed, images, timestepPairs, sampling } = protocol;
  // Latents are kept for the comparison with a float pipeline alone.
  const trajectories = against === null ? 0 : protocol.trajectories;
  const { steps, guidance } = sampling;
  return { samples, seed, steps, guidance: guidance ?? 1, images, trajectories, timestepPairs };
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
