import { join } from 'node:path';
import { extractorIdentity } from '../../activities/evaluation-extractor.js';
import { findExtractor } from '../../activities/extractor-folder.js';
import { digestFolder } from '../../activities/store/folder-digest.js';
import type { LocalStore } from '../../activities/store/local-store.js';
import type { ArtifactRef } from '../../contracts/artifact.js';
import {
  type EvaluationSpec,
  evaluationSpecSchema,
  type SampledSetRefs,
} from '../../contracts/evaluation-activities.js';
import { protocolSchema } from '../../contracts/protocol.js';
import type { Score } from '../../contracts/score.js';
import type { Bench } from './run-chain.js';

/** Settings of seconds instead of minutes; `samples` pictures of three steps. */
export async function tinyEvaluation(
  store: LocalStore,
  folders: { readonly candidate: string; readonly float: string | null; readonly out: string },
  samples: number,
): Promise<EvaluationSpec> {
  const folder = async (path: string) => ({ path, digest: (await digestFolder(path)).digest, name: 'tiny' });
  const found = await findExtractor('cifar10-resnet', folders.out);
  const protocol = protocolSchema.parse({
    name: 'tiny',
    samples,
    sampling: { steps: 3, guidance: 1 },
    timestepPairs: 16,
    settings: { kidSubsets: 4, kidSubsetSize: 16, projections: 32, permutations: 20, resamples: 50 },
  });
  return evaluationSpecSchema.parse({
    candidate: await folder(folders.candidate),
    against: folders.float === null ? null : await folder(folders.float),
    reference: null,
    protocol,
    protocolDigest: '0'.repeat(64),
    extractor: extractorIdentity(found),
    prompts: await store.putJson('file', new Array<string>(samples).fill('')),
    out: join(folders.out, 'evaluation'),
    compute: { device: 'cpu', threads: 1 },
  });
}

/** Artifacts of a set's shards, in order. */
export type SampledShards = Record<keyof SampledSetRefs, ArtifactRef[]>;

/** The workflow's steps one after the other, with shards of `size` pictures; gives the scores. */
export async function evaluateInShards(
  { activities, store }: Pick<Bench, 'activities' | 'store'>,
  spec: EvaluationSpec,
  size: number,
): Promise<{ scores: Score[]; sets: Record<'float' | 'floor' | 'candidate', SampledShards> }> {
  const { extractor, protocol, compute, prompts, protocolDigest } = spec;
  const { samples, seed, images, trajectories, timestepPairs } = protocol;
  const { steps, guidance } = protocol.sampling;
  const sampling = { samples, seed, steps, guidance: guidance ?? 1, images, trajectories, timestepPairs };
  const { pipeline: candidatePipeline } = await activities.importFolder({ folder: spec.candidate });
  const { pipeline: float } = await activities.importFolder({ folder: spec.against ?? spec.candidate });
  const setOf = async (pipeline: typeof float, base: SampledShards | null, shift: number): Promise<SampledShards> => {
    const set: SampledShards = { images: [], trajectories: [], features: [] };
    for (let first = 0; first < samples; first += size) {
      const shard = await activities.sampleShard({
        ...{ pipeline, prompts, sampling: { ...sampling, seed: seed + shift }, compute },
        ...{ first, end: Math.min(samples, first + size), against: base?.trajectories[first / size] ?? null },
      });
      const shardInput = { images: shard.images, extractor, resize: protocol.resize, compute };
      set.images.push(shard.images);
      set.trajectories.push(shard.trajectories);
      set.features.push((await activities.extractShard(shardInput)).features);
    }
    return set;
  };
  const listed = async ({ images, trajectories, features }: SampledShards): Promise<SampledSetRefs> => {
    const list = async (shards: ArtifactRef[]) => (await activities.listShards({ shards })).list;
    return {
      images: await list(images),
      trajectories: await list(trajectories),
      features: await list(features),
    };
  };
  const base = await setOf(float, null, 0);
  const floor = await setOf(float, base, 1);
  const candidate = await setOf(candidatePipeline, base, 0);
  const { comparison } = await activities.compareDenoisers({
    ...{ reference: float, candidate: candidatePipeline, prompts, sampling, trajectories: base.trajectories },
    ...{ inside: { recipe: null, driftCalls: null }, compute },
  });
  const { scores } = await activities.scoreEvaluation({
    ...{ protocol, protocolDigest, extractor, prompts },
    ...{ candidate: await listed(candidate), float: await listed(base), floor: await listed(floor) },
    ...{ reference: null, comparison, compute },
  });
  return { scores: (await store.getJson(scores)) as Score[], sets: { float: base, floor, candidate } };
}
