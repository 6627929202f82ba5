import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { EVALUATION_BATCH } from '../../activities/evaluation-sampling.js';
import { openStoredPictures } from '../../activities/images/stored-pictures.js';
import { loadShardMetadata, unlikeBatches } from '../../activities/shard-metadata.js';
import type { EvaluationSpec, ShardSampling } from '../../contracts/evaluation-activities.js';
import type { Score } from '../../contracts/score.js';
import type { EvaluationDetails } from '../../evaluation/evaluation-details.js';
import { tinyUnet, writeTinyPipeline } from '../fixtures/tiny-pipeline.js';
import { tinyEvaluation } from './evaluation-steps.js';
import { hungryAt } from './hungry-unet.js';
import { perturbed } from './perturbed-unet.js';
import { Bench } from './run-chain.js';

let bench: Bench;
let spec: EvaluationSpec;

beforeAll(async () => {
  bench = await Bench.open();
  const [float, candidate] = [join(bench.folder, 'float'), join(bench.folder, 'candidate')];
  await writeTinyPipeline(float);
  await writeTinyPipeline(candidate, hungryAt(perturbed(tinyUnet(), 0.02), EVALUATION_BATCH));
  spec = await tinyEvaluation(bench.store, { candidate, float, out: bench.folder }, 16);
});

afterAll(() => bench.close());

/** Shards of eight pictures of an evaluation of `samples` pictures, of which eight are compared at every step. */
async function shard(folder: 'candidate' | 'against', index: number, samples: number, changes = {}) {
  const { seed, images, timestepPairs } = spec.protocol;
  const kept = { trajectories: 8, timestepPairs, ...changes };
  const sampling: ShardSampling = { samples, seed, steps: 3, guidance: 1, images, ...kept };
  const { pipeline } = await bench.activities.importFolder({ folder: spec[folder] ?? spec.candidate });
  const prompts = await bench.store.putJson('file', new Array<string>(samples).fill(''));
  const { compute } = spec;
  return { pipeline, prompts, sampling, first: 8 * index, end: 8 * index + 8, against: null, compute };
}

describe('shards of an evaluation', () => {
  it('are those of an evaluation of fewer pictures: pictures and features are not made again', async () => {
    const { extractor, protocol, compute } = spec;
    for (const samples of [16, 24]) {
      for (let index = 0; index < samples / 8; index += 1) {
        const reused = samples === 24 && index < 2;
        const made = await bench.activities.sampleShard(await shard('against', index, samples));
        expect(made.reused).toBe(reused);
        const input = { images: made.images, extractor, resize: protocol.resize, compute };
        expect((await bench.activities.extractShard(input)).reused).toBe(reused);
      }
    }
  });

  it('are others where something of their own is another', async () => {
    const known = await shard('against', 0, 16);
    const { reused } = await bench.activities.sampleShard(known);
    expect(reused).toBe(true);
    const others = [
      { ...known, sampling: { ...known.sampling, seed: 1 } },
      { ...known, sampling: { ...known.sampling, steps: 2 } },
      { ...known, sampling: { ...known.sampling, images: 'png' as const } },
      // The calls that are kept are drawn from all compared trajectories.
      { ...known, sampling: { ...known.sampling, trajectories: 16 } },
      { ...known, sampling: { ...known.sampling, timestepPairs: 20 } },
      { ...known, prompts: await bench.store.putJson('file', new Array<string>(16).fill('another')) },
      { ...known, end: 6 },
    ];
    for (const other of others) expect((await bench.activities.sampleShard(other)).reused).toBe(false);
    // Shards without kept trajectories do not depend on how many there are elsewhere.
    const behind = await shard('against', 1, 16, { timestepPairs: 20 });
    expect((await bench.activities.sampleShard(behind)).reused).toBe(true);
  });

  it('are sampled in smaller batches when memory runs out, and scores say so', async () => {
    const { activities, store } = bench;
    const float = await activities.sampleShard(await shard('against', 0, 16));
    const input = { ...(await shard('candidate', 0, 16)), against: float.trajectories };
    await expect(activities.sampleShard(input)).rejects.toMatchObject({ type: 'OutOfMemory', nonRetryable: false });
    const candidate = await activities.sampleShard(input);
    expect((await openStoredPictures(store, [candidate.images])).n).toBe(8);
    const batches = [candidate, float].map(async ({ trajectories }) => loadShardMetadata(store, trajectories));
    expect((await Promise.all(batches)).map(({ batch }) => batch)).toEqual([EVALUATION_BATCH / 2, EVALUATION_BATCH]);

    const { scores, details } = await scored(candidate, float);
    const note = `memory ran out: 1 of 1 shards .* \\(${EVALUATION_BATCH / 2} instead of ${EVALUATION_BATCH}\\)`;
    const [psnr, inception] = ['psnr', 'inception-score'].map((metric) => scores.find((one) => one.metric === metric));
    expect(psnr?.notes.join()).toMatch(new RegExp(note));
    expect(inception?.notes.join()).not.toMatch(/memory ran out/);
    expect(details.notes.join()).toMatch(new RegExp(note));
  });

  it('have no note when both sides were sampled alike', () => {
    expect(unlikeBatches([8, 4, 8], [8, 4, 8])).toEqual([]);
    expect(unlikeBatches([8, 4, 2], [8, 8, 8]).join()).toMatch(/2 of 3 shards .* \(2 instead of 8, 4 instead of 8\)/);
  });
});

type Shard = Awaited<ReturnType<Bench['activities']['sampleShard']>>;

/** Scores of one shard; the noise floor is the float pipeline itself. */
async function scored(candidate: Shard, float: Shard): Promise<{ scores: Score[]; details: EvaluationDetails }> {
  const { activities, store } = bench;
  const { extractor, protocol, protocolDigest, compute, prompts } = spec;
  const setOf = async ({ images, trajectories }: Shard) => {
    const { features } = await activities.extractShard({ images, extractor, resize: protocol.resize, compute });
    const list = async (ref: typeof images) => (await activities.listShards({ shards: [ref] })).list;
    return { images: await list(images), trajectories: await list(trajectories), features: await list(features) };
  };
  const floor = await activities.sampleShard({
    ...(await shard('against', 0, 16)),
    against: float.trajectories,
  });
  const result = await activities.scoreEvaluation({
    ...{ protocol: { ...protocol, samples: 8 }, protocolDigest, extractor, prompts, compute },
    ...{ candidate: await setOf(candidate), float: await setOf(float), floor: await setOf(floor) },
    ...{ reference: null, comparison: null },
  });
  return {
    scores: (await store.getJson(result.scores)) as Score[],
    details: (await store.getJson(result.details)) as EvaluationDetails,
  };
}
