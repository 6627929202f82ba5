import type { ArtifactRef } from '../contracts/artifact.js';
import type { EvaluationActivities, PlanEvaluationResult, SampledSetRefs } from '../contracts/evaluation-activities.js';
import type { Protocol } from '../contracts/protocol.js';
import type { Recipe } from '../contracts/recipe.js';
import { type EvaluationHeadline, evaluationLabel } from '../contracts/run-summary.js';
import type { Compute, StageOutcome } from '../contracts/stages.js';
import {
  floorSampling,
  keptTrajectories,
  type MadeSet,
  makeSet,
  type SampledSet,
  type SetCalls,
  type SetSettings,
  samplingOf,
} from './evaluate-sets.js';
import { shardsOf } from './evaluation-state.js';

export type QuantizationEvaluationCalls = SetCalls &
  Pick<EvaluationActivities, 'planEvaluation' | 'compareDenoisers' | 'scoreEvaluation'>;

/** What the evaluations of one run are made of. */
export interface EvaluatedRun {
  /** The float pipeline. */
  readonly pipeline: ArtifactRef;
  /** JSON: PromptSets. */
  readonly prompts: ArtifactRef;
  readonly recipe: Recipe;
  readonly compute: Compute;
  readonly finetunes: boolean;
}

/** One evaluation; members that are artifacts are kept under its stage's id. */
export interface QuantizationEvaluation extends StageOutcome {
  readonly headline: EvaluationHeadline;
  /** JSON: Score[] and EvaluationDetails. */
  readonly scores: ArtifactRef;
  readonly details: ArtifactRef;
  /** Kind shards. */
  readonly images: ArtifactRef;
}

/** The evaluation of a quantized pipeline. */
export interface QuantizedEvaluation extends QuantizationEvaluation {
  /** JSON: DenoiserComparison. */
  readonly comparison: ArtifactRef;
}

/** The evaluation of the noise floor, which comes first and samples the float pictures that all are compared with. */
export interface FloorEvaluation extends QuantizationEvaluation {
  readonly texts: ArtifactRef;
  readonly protocol: ArtifactRef;
  readonly reference: ArtifactRef | null;
  /** Kind shards, of the float pictures. */
  readonly floatImages: ArtifactRef;
  /** JSON: Score[] of the float pictures against the reference; null without one. */
  readonly floatScores: ArtifactRef | null;
}

/** Calls of the denoiser at each timestep whose activations are counted: as many as in one run of the network. */
const DRIFT_CALLS = 4;

/** Told what an evaluation is doing, in a few words. */
type Telling = (summary: string) => void;

/** The evaluations of a quantization: the float pictures and the noise floor once, then one pipeline after the other. */
export class QuantizationEvaluations {
  private base: { settings: SetSettings; planned: PlanEvaluationResult; float: MadeSet; floor: MadeSet } | undefined;

  constructor(
    private readonly calls: QuantizationEvaluationCalls,
    private readonly run: EvaluatedRun,
  ) {}

  /** The float pipeline with its own seeds and with others: how far apart two equally good answers are. */
  async floor(tell: Telling): Promise<FloorEvaluation> {
    const { pipeline, prompts, recipe, compute } = this.run;
    const work = new Work();
    const planned = work.noted(await this.calls.planEvaluation({ pipeline, prompts, recipe }));
    const { settings: protocol, extractor, texts, reference } = planned;
    const settings = { protocol, extractor, prompts: texts, compute };
    const sampling = samplingOf(protocol, true);
    const make = this.maker(settings, work, 2, tell);
    const float = await make({ pipeline, sampling, against: null });
    const floor = await make({ pipeline, sampling: floorSampling(sampling), against: float.shards });
    this.base = { settings, planned, float, floor };
    tell('scoring');
    const alone = { candidate: float.refs, float: null, floor: null, comparison: null };
    const floatScores =
      reference === null
        ? null
        : work.noted(await this.calls.scoreEvaluation(this.scoring(shortened(protocol), alone)));
    const sets = { candidate: floor.refs, float: float.refs, floor: null, comparison: null };
    const scored = work.noted(await this.calls.scoreEvaluation(this.scoring(shortened(protocol), sets)));
    return {
      ...this.ended('evaluate-floor', work, scored, ''),
      ...{ texts, protocol: planned.protocol, reference, floatImages: float.refs.images },
      ...{ floatScores: floatScores?.scores ?? null, images: floor.refs.images },
    };
  }

  /** A quantized pipeline. All metrics, and its layers, are for the one that is shipped. */
  async quantized(
    id: 'evaluate-before' | 'evaluate',
    candidate: ArtifactRef,
    tell: Telling,
  ): Promise<QuantizedEvaluation> {
    const { settings, float, floor } = this.needed();
    const { pipeline, recipe } = this.run;
    const { protocol } = settings;
    const work = new Work();
    const sampling = samplingOf(protocol, true);
    const made = await this.maker(settings, work, 1, tell)({ pipeline: candidate, sampling, against: float.shards });
    tell('comparing denoisers');
    const isShipped = id === 'evaluate';
    const inside = isShipped ? { recipe, driftCalls: DRIFT_CALLS } : null;
    const { comparison, arithmetic } = work.noted(
      await this.calls.compareDenoisers({
        ...{ reference: pipeline, candidate, prompts: settings.prompts, sampling, inside, compute: settings.compute },
        trajectories: keptTrajectories(protocol, sampling, float),
      }),
    );
    tell('scoring');
    const sets = { candidate: made.refs, float: float.refs, floor: isShipped ? floor.refs : null, comparison };
    const scored = work.noted(
      await this.calls.scoreEvaluation(this.scoring(isShipped ? protocol : shortened(protocol), sets)),
    );
    const how = arithmetic === 'shipped-in-float' ? '; its arithmetic ran in float operators' : '';
    return { ...this.ended(id, work, scored, how), images: made.refs.images, comparison };
  }

  private maker(settings: SetSettings, work: Work, sets: number, tell: Telling): (set: SampledSet) => Promise<MadeSet> {
    const total = sets * shardsOf(settings.protocol).length;
    let done = 0;
    tell(`0 of ${total} shards`);
    return (set) =>
      makeSet(this.calls, settings, set, (step, items, run) =>
        Promise.all(
          items.map(async (item, index) => {
            const result = work.noted(await run(item, index));
            if (step === 'features') done += 1;
            tell(`${done} of ${total} shards`);
            return result;
          }),
        ),
      );
  }

  private scoring(
    protocol: Protocol,
    sets: {
      candidate: SampledSetRefs;
      float: SampledSetRefs | null;
      floor: SampledSetRefs | null;
      comparison: ArtifactRef | null;
    },
  ): Parameters<EvaluationActivities['scoreEvaluation']>[0] {
    const { settings, planned } = this.needed();
    const { extractor, prompts, compute } = settings;
    const { protocolDigest, reference: features } = planned;
    const reference = features === null ? null : { features, statistics: null, notes: [] };
    return { protocol, protocolDigest, extractor, prompts, ...sets, reference, compute };
  }

  private ended(
    id: Parameters<typeof evaluationLabel>[0],
    work: Work,
    { headline, scores, details }: Awaited<ReturnType<EvaluationActivities['scoreEvaluation']>>,
    how: string,
  ) {
    if (headline === null) throw new RangeError(`stage ${id} compared nothing`);
    const { samples } = this.needed().settings.protocol;
    const label = evaluationLabel(id, this.run.finetunes);
    return {
      ...{ headline: { label, ...headline }, scores, details, ...work.outcome() },
      summary: `${headlineText(headline)} (n = ${samples})${how}`,
    };
  }

  private needed() {
    if (this.base === undefined) throw new RangeError('the noise floor is evaluated first');
    return this.base;
  }
}

/** What the activities of one stage came to. */
class Work {
  private readonly outcomes: StageOutcome[] = [];

  noted<Result extends StageOutcome>(result: Result): Result {
    this.outcomes.push(result);
    return result;
  }

  outcome(): Omit<StageOutcome, 'summary'> {
    return {
      reused: this.outcomes.every(({ reused }) => reused),
      seconds: this.outcomes.reduce((sum, { seconds }) => sum + seconds, 0),
      workSeconds: this.outcomes.reduce((sum, { seconds, workSeconds = seconds }) => sum + workSeconds, 0),
    };
  }
}

/** Only what stands in the table of a run's evaluations. */
function shortened(protocol: Protocol): Protocol {
  return { ...protocol, metrics: ['frechet'], settings: { ...protocol.settings, permutations: 0 } };
}

function headlineText({ psnrDb, ssim, denoiserRelativeMse: error }: Omit<EvaluationHeadline, 'label'>): string {
  return [
    `PSNR ${psnrDb.toFixed(2)} dB`,
    ...(ssim === null ? [] : [`SSIM ${ssim.toFixed(3)}`]),
    ...(error === null ? [] : [`denoiser error ${(100 * error).toFixed(2)} %`]),
  ].join(', ');
}
