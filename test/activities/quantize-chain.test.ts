import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { z } from 'zod';
import { digestOfFile } from '../../activities/store/local-store.js';
import { pictureScoresSchema } from '../../contracts/picture-scores.js';
import { type Score, scoreSchema } from '../../contracts/score.js';
import type { PipelineManifest, RunSpec, StageOutcome } from '../../contracts/stages.js';
import type { DenoiserComparison } from '../../evaluation/denoiser-comparison.js';
import type { EvaluationDetails } from '../../evaluation/evaluation-details.js';
import { frechetOf } from '../../evaluation/report/score-columns.js';
import { headlineOf } from '../../evaluation/score-headline.js';
import { readSafetensors } from '../../models/tensors/safetensors.js';
import { findBrowser, HeadlessBrowser } from '../browser/headless-browser.js';
import { overflowing } from '../browser/page-checks.js';
import { Bench, type Chain, runChain, tinySpec } from './run-chain.js';

/** The default recipe's promise: at most a sixth of the float file. */
const SIXTH = 6;

let bench: Bench;
let spec: RunSpec;
let first: Chain;

beforeAll(async () => {
  bench = await Bench.open();
  spec = await tinySpec(join(bench.folder, 'out'));
  first = await runChain(bench, spec);
}, 240_000);
afterAll(() => bench.close());
afterEach(() => vi.restoreAllMocks());

const kinds = (chain: Chain) =>
  Object.fromEntries(Object.entries(chain.artifacts).map(([name, ref]) => [name, ref.digest]));

describe('the activities, one after the other', () => {
  it('write a folder of the input’s layout whose files are what the manifest says', async () => {
    const paths = (await readdir(spec.out, { recursive: true })).filter((path) => path.includes('.'));
    expect(paths).toEqual(
      expect.arrayContaining(['README.md', 'manifest.json', 'model_index.json', 'report.html', 'samples.png']),
    );
    const manifest = JSON.parse(await readFile(join(spec.out, 'manifest.json'), 'utf8')) as {
      files: Record<string, { digest: string }>;
    };
    for (const [path, { digest }] of Object.entries(manifest.files)) {
      expect(await digestOfFile(join(spec.out, path)), path).toBe(digest);
    }
    const source = (await bench.store.getJson(ref('import.pipeline'))) as PipelineManifest;
    const models = source.files.map(({ path }) => path).filter((path) => path !== 'README.md');
    expect(Object.keys(manifest.files)).toEqual(expect.arrayContaining(models));
    expect(await readFile(join(spec.out, 'manifest.json'), 'utf8')).not.toContain(bench.folder);
  });

  it('write the shipped scores as an array, and every picture’s values of the same seed', async () => {
    const read = async (name: string) => JSON.parse(await readFile(join(spec.out, name), 'utf8')) as unknown;
    const scores = z.array(scoreSchema).parse(await read('scores.json'));
    const pictures = pictureScoresSchema.parse(await read('pictures.json'));
    const shipped = (await bench.store.getJson(ref('evaluate.details'))) as EvaluationDetails;
    expect(pictures.values).toEqual(shipped.pictures);
    expect(Object.keys(pictures.values)).toEqual(['psnr', 'ssim', 'lpips']);
    expect(pictures.prompts).toHaveLength(10);
    const psnr = pictures.values.psnr ?? [];
    const mean = psnr.reduce((sum, value) => sum + value, 0) / psnr.length;
    expect(scores[0]).toMatchObject({ name: 'psnr-10', value: expect.closeTo(mean, 10), n: 10 });
    expect(scores.map(({ against }) => against)).toContain('reference');
    const { digest } = (await read('protocol.json')) as { digest: string };
    expect(new Set(scores.map(({ protocol }) => protocol))).toEqual(new Set([digest]));
  });

  it.skipIf(findBrowser() === undefined)('write a report that a real browser shows whole', async () => {
    const browser = await HeadlessBrowser.launch(findBrowser() ?? '');
    try {
      const page = await browser.openPage();
      await page.open(pathToFileURL(join(spec.out, 'report.html')).href);
      expect(page.complaints).toEqual([]);
      expect(page.requests.filter((url) => !/^(file|data):/.test(url))).toEqual([]);
      for (const width of [390, 1280]) {
        await page.resize(width);
        expect(await page.evaluate(`(${overflowing})()`), `${width} px`).toEqual([]);
      }
      const count = (selector: string) => page.evaluate(`document.querySelectorAll('${selector}').length`);
      // Ten pictures: all of them as samples, half of them as worst, half as best.
      expect(await count('.triple')).toBe(20);
      expect(await count('rect.bar-before')).toBe(24);
      // Errors of layers and drift of activations, at three timesteps each.
      expect(await count('rect.heat')).toBe(2 * 24 * 3);
      // Scores: five of the same seed, the denoiser's, the Fréchet distances to float and to the reference.
      expect(await count('svg.plot circle')).toBe(8);
      expect((await page.pdf()).subarray(0, 5).toString()).toBe('%PDF-');
    } finally {
      await browser.close();
    }
  });

  it('change the denoiser alone, and make it at most a sixth', () => {
    const converted = first.outcomes.convert as StageOutcome & { denoiserBytes: number; floatDenoiserBytes: number };
    expect(converted.floatDenoiserBytes / converted.denoiserBytes).toBeGreaterThanOrEqual(SIXTH);
  });

  it('score the floor and the shipped folder against the same float pictures', async () => {
    const json = async <T>(name: string) => (await bench.store.getJson(ref(name))) as T;
    const floor = await json<Score[]>('evaluate-floor.scores');
    const shipped = await json<Score[]>('evaluate.scores');
    expect(headlineOf(floor).denoiserRelativeMse).toBeNull();
    expect(frechetOf(shipped).referenceCount).toBe(1640);
    // What stands beside the shipped pipeline's scores is what the floor's own evaluation found.
    for (const metric of ['psnr', 'ssim', 'latent-sqnr', 'frechet']) {
      const own = (scores: Score[]) => scores.find((score) => score.metric === metric && score.against === 'float');
      expect(own(shipped)?.floor, metric).toBe(own(floor)?.value);
    }
    const comparison = await json<DenoiserComparison>('evaluate.comparison');
    expect(comparison).toMatchObject({ arithmetic: 'shipped', calls: 16 });
    expect(comparison.layers).toHaveLength(103);
    for (const { name, error } of comparison.layers) expect(error, name).toBeGreaterThan(0);
    expect(comparison.layerTimesteps.timesteps).toHaveLength(3);
    expect(comparison.drift?.timesteps).toHaveLength(3);
    expect(comparison.drift?.layers).toHaveLength(103);
  });

  it('keep calibration and evaluation prompts apart', async () => {
    const prompts = (await bench.store.getJson(ref('import.prompts'))) as Record<string, string[]>;
    expect(prompts.calibration).toHaveLength(4);
    expect(prompts.evaluation).toHaveLength(10);
    expect(prompts.calibration?.filter((text) => prompts.evaluation?.includes(text))).toEqual([]);
  });

  it('reuse every stage the second time, and only publish again when the folder is gone', async () => {
    const second = await runChain(bench, spec);
    expect(Object.values(second.outcomes).every(({ reused }) => reused)).toBe(true);
    await rm(spec.out, { recursive: true });
    const third = await runChain(bench, spec);
    expect(
      Object.entries(third.outcomes)
        .filter(([, { reused }]) => !reused)
        .map(([id]) => id),
    ).toEqual(['report']);
    expect(kinds(third)).toMatchObject({ 'convert.pipeline': ref('convert.pipeline').digest });
    expect(await readdir(spec.out)).toContain('manifest.json');
    expect(await readdir(join(bench.store.folder, 'checkpoints'))).toEqual([]);
  });

  it('give the same digests from an empty store, interrupted at a checkpoint in sampling, finetuning and evaluation', async () => {
    const other = await Bench.open();
    try {
      hurry();
      const failures: unknown[] = [];
      const chain = await runChain(other, { ...spec, out: join(other.folder, 'out') }, async (id, run) => {
        if (!['sample', 'finetune', 'evaluate'].includes(id)) return run();
        failures.push(await other.interrupted(run));
        return run();
      });
      expect(failures.map(String)).toEqual(new Array(3).fill('Error: interrupted by the test'));
      const { 'report.reportRef': _one, ...made } = kinds(chain);
      const { 'report.reportRef': _two, ...expected } = kinds(first);
      expect(made).toEqual(expected);
      expect(await readdir(join(other.store.folder, 'checkpoints'))).toEqual([]);
    } finally {
      await other.close();
    }
  }, 240_000);
});

describe('ranges by timestep', () => {
  it('are observed at every kept timestep, also when interrupted, and become tables', async () => {
    const { recipe } = await tinySpec(spec.out, { activations: { ranges: 'timestep' } });
    const { activities, store } = bench;
    const { compute } = spec;
    const [pipeline, prompts, graph] = [ref('import.pipeline'), ref('import.prompts'), ref('transform.graph')];
    const { plan } = await activities.planQuantization({ pipeline, prompts, recipe });
    const { calibration } = await activities.sampleTrajectories({ pipeline, prompts, recipe, compute });
    const observe = () => activities.observeActivations({ graph, plan, calibration, recipe, compute });
    hurry();
    expect(String(await bench.interrupted(observe))).toBe('Error: interrupted by the test');
    const { stats } = await observe();
    const { tensors, metadata } = readSafetensors(await store.get(stats));
    expect(JSON.parse(metadata.timesteps ?? '[]')).toHaveLength(3);
    const counts = [...tensors].filter(([name]) => name.endsWith('.count'));
    expect(counts.length).toBeGreaterThan(80);
    const sample = tensors.get('sample.count');
    // 4 trajectories, 2 branches, 12 × 16 × 16 values: each once, although the stage was interrupted.
    expect(Array.from(sample?.data ?? [], Number)).toEqual(new Array(3).fill(4 * 2 * 12 * 16 * 16));
    const { parameters } = await activities.roundWeights({ graph, plan, stats, recipe });
    const rounded = readSafetensors(await store.get(parameters)).tensors;
    const tables = [...rounded].filter(([name]) => name.startsWith('activations/') && name.endsWith('/scale'));
    expect(tables.length).toBeGreaterThan(80);
    expect(new Set(tables.map(([, { dims }]) => dims.join()))).toEqual(new Set(['3']));
  });
});

describe('what is refused', () => {
  it('a folder that changed since the run was started', async () => {
    const changed = { ...spec, sourceDigest: 'f'.repeat(64) };
    await expect(bench.activities.importPipeline({ spec: changed })).rejects.toMatchObject({ type: 'InvalidModel' });
  });

  it('calibration on the seed that is evaluated', async () => {
    const { recipe } = await tinySpec(spec.out, { calibration: { trajectories: 4, timesteps: 3, seed: 1000 } });
    const input = { pipeline: ref('import.pipeline'), prompts: ref('import.prompts'), recipe };
    await expect(bench.activities.planQuantization(input)).rejects.toMatchObject({ type: 'InvalidRecipe' });
  });

  it('prompts that are both calibrated on and evaluated', async () => {
    const prompts = await bench.store.putJson('file', { calibration: ['a  Cat'], evaluation: ['a cat'] });
    const input = { pipeline: ref('import.pipeline'), prompts, recipe: spec.recipe };
    await expect(bench.activities.planQuantization(input)).rejects.toThrow(/both calibrated on and evaluated/);
  });

  it('an output folder with somebody else’s files, which are left as they are', async () => {
    const out = join(bench.folder, 'theirs');
    await mkdir(out);
    await writeFile(join(out, 'thesis.txt'), 'mine');
    const summary = { stages: [], validation: null, training: null };
    const input = {
      spec: { ...spec, out },
      workflowId: 'test',
      runId: 'run',
      artifacts: { ...first.artifacts },
      summary,
    };
    await expect(bench.activities.renderReport(input)).rejects.toMatchObject({ type: 'OutputNotWritable' });
    expect(await readdir(out)).toEqual(['thesis.txt']);
    expect((await readdir(bench.folder)).sort()).toEqual(['out', 'store', 'theirs']);
  });
});

function ref(name: string) {
  const found = first.artifacts[name];
  if (found === undefined) throw new Error(`no artifact ${name}`);
  return found;
}

/** Makes every moment the time for a checkpoint: 6 s pass whenever the clock is read. */
function hurry(): void {
  let now = performance.now();
  vi.spyOn(performance, 'now').mockImplementation(() => {
    now += 6_000;
    return now;
  });
}
