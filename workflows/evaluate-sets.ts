import type { ArtifactRef } from '../contracts/artifact.js';
import type {
  EvaluationActivities,
  EvaluationSpec,
  SampledSetRefs,
  ShardSampling,
} from '../contracts/evaluation-activities.js';
import type { Protocol } from '../contracts/protocol.js';
import type { Compute, StageOutcome } from '../contracts/stages.js';
import { shardsOf } from './evaluation-state.js';

/** What sets of pictures are made with: the evaluation of a folder and those of a quantization both use it. */
export type SetCalls = Pick<EvaluationActivities, 'sampleShard' | 'extractShard' | 'listShards'>;

/** What all sets of an evaluation have in common. */
export interface SetSettings {
  readonly protocol: Protocol;
  readonly extractor: EvaluationSpec['extractor'];
  readonly prompts: ArtifactRef;
  readonly compute: Compute;
}

export interface SampledSet {
  readonly pipeline: ArtifactRef;
  readonly sampling: ShardSampling;
  /** Trajectories of the float shards; null: these are they. */
  readonly against: readonly ArtifactRef[] | null;
}

export interface MadeSet {
  /** Trajectories of each shard. */
  readonly shards: readonly ArtifactRef[];
  readonly refs: SampledSetRefs;
}

/** Runs an activity for all items at once; the caller tells of it. */
export type EachShard = <Item, Result extends StageOutcome>(
  step: 'pictures' | 'features',
  items: readonly Item[],
  run: (item: Item, index: number) => Promise<Result>,
) => Promise<Result[]>;

/** Samples a set and extracts its features, all shards at once: workers take them as they are free. */
export async function makeSet(
  calls: SetCalls,
  { protocol, extractor, prompts, compute }: SetSettings,
  { pipeline, sampling, against: float }: SampledSet,
  each: EachShard,
): Promise<MadeSet> {
  const sampled = await each('pictures', shardsOf(protocol), ({ first, end }, index) => {
    const against = float === null ? null : (float[index] ?? null);
    return calls.sampleShard({ pipeline, prompts, sampling, first, end, against, compute });
  });
  const extracted = await each('features', sampled, ({ images }) =>
    calls.extractShard({ images, extractor, resize: protocol.resize, compute }),
  );
  const listed = async (shards: ArtifactRef[]): Promise<ArtifactRef> => (await calls.listShards({ shards })).list;
  const shards = sampled.map(({ trajectories }) => trajectories);
  const [images, trajectories, features] = await Promise.all([
    listed(sampled.map(({ images }) => images)),
    listed(shards),
    listed(extracted.map(({ features }) => features)),
  ]);
  return { shards, refs: { images, trajectories, features } };
}

/** How a protocol's pictures are sampled. @param isCompared whether latents are kept for a comparison with a float pipeline */
export function samplingOf(
  { samples, seed, images, trajectories, timestepPairs, sampling }: Protocol,
  isCompared: boolean,
): ShardSampling {
  const { steps, guidance } = sampling;
  const kept = isCompared ? trajectories : 0;
  return { samples, seed, steps, guidance: guidance ?? 1, images, trajectories: kept, timestepPairs };
}

/** The same noise for nobody else: what the noise floor starts from. */
export function floorSampling(sampling: ShardSampling): ShardSampling {
  return { ...sampling, seed: sampling.seed + 1 };
}

/** Trajectories of the float shards that kept some. */
export function keptTrajectories(protocol: Protocol, sampling: ShardSampling, { shards }: MadeSet): ArtifactRef[] {
  return shards.slice(0, shardsOf(protocol).filter(({ first }) => first < sampling.trajectories).length);
}
