import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { LocalStore } from '../../activities/store/local-store.js';
import { loadConfig } from '../../cli/load-config.js';
import { packageRoot } from '../../cli/package-root.js';
import { type EvaluationRequest, prepareEvaluation } from '../../cli/prepare-evaluation.js';
import type { NibbleflowError } from '../../contracts/errors.js';
import type { EvaluationSpec } from '../../contracts/evaluation-activities.js';
import { protocolSchema } from '../../contracts/protocol.js';
import { recipeSchema } from '../../contracts/recipe.js';
import { writeTinyPipeline } from '../fixtures/tiny-pipeline.js';

const ZOO = join(packageRoot(), 'models', 'zoo');
const TEXT_PIPELINE = fileURLToPath(new URL('../golden/pipelines/sd_text2img', import.meta.url));

let folder: string;
let tiny: string;
let text: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'nibbleflow-prepare-evaluation-'));
  [tiny, text] = [join(folder, 'tiny'), join(folder, 'text')];
  await writeTinyPipeline(tiny);
  await cp(TEXT_PIPELINE, text, { recursive: true });
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function prepare(request: Partial<EvaluationRequest>): Promise<EvaluationSpec> {
  const loaded = await loadConfig(folder, { NIBBLEFLOW_HOME: join(folder, 'home') });
  const usual = { folder: tiny, protocol: 'standard', settings: [], out: join(folder, 'out') };
  return prepareEvaluation({ ...usual, ...request }, loaded, folder);
}

/** The kind of failure and what people read. */
async function refusal(request: Partial<EvaluationRequest>): Promise<string> {
  const error = await prepare(request).then(
    () => new Error('nothing was refused'),
    (thrown: NibbleflowError) => thrown,
  );
  return 'kind' in error ? `${error.kind}: ${error.message}` : error.message;
}

/** A copy of the text pipeline with one file changed. */
async function textPipelineWith(name: string, file: string, content: string): Promise<string> {
  const copy = join(folder, name);
  await cp(text, copy, { recursive: true });
  await writeFile(join(copy, file), content);
  return copy;
}

describe('an evaluation is refused before anything starts', () => {
  it('without a pipeline, on either side', async () => {
    expect(await refusal({ folder: join(folder, 'gone') })).toMatch(/^InvalidInput: .*does not exist.*gone/);
    expect(await refusal({ against: join(folder, 'gone') })).toMatch(/^InvalidInput: .*does not exist.*gone/);
    await mkdir(join(folder, 'empty'));
    expect(await refusal({ folder: join(folder, 'empty') })).toMatch(/^InvalidModel: .*no model_index\.json/);
  });

  it('against a pipeline with other latents, another sampler or another kind of parts', async () => {
    expect(await refusal({ against: join(ZOO, 'emoji-t2i') })).toMatch(/differ in their .*sizes of latents/);
    expect(await refusal({ against: join(ZOO, 'emoji-t2i') })).toMatch(/VAE decoders/);
    const other = join(folder, 'other-sampler');
    await writeTinyPipeline(other);
    const file = join(other, 'scheduler', 'scheduler_config.json');
    const config = JSON.parse(await readFile(file, 'utf8')) as object;
    await writeFile(file, JSON.stringify({ ...config, beta_end: 0.03 }));
    expect(await refusal({ against: other })).toMatch(/differ in their samplers/);
  });

  it('of too few pictures for a distance, and of a number that is none', async () => {
    expect(await refusal({ samples: '20' })).toMatch(/20 pictures mean nothing.*\n.*50/);
    expect(await refusal({ samples: 'many' })).toMatch(/samples/);
  });

  it('by an unknown protocol, setting, metric, extractor or device, with the nearest ones', async () => {
    expect(await refusal({ protocol: 'quik' })).toMatch(/Did you mean quick/);
    expect(await refusal({ settings: ['settings.kidSubset=5'] })).toMatch(/did you mean settings\.kidSubsets\?/);
    expect(await refusal({ settings: ['metrics=[frechett]'] })).toMatch(/Did you mean frechet\?/);
    expect(await refusal({ settings: ['extractor=cifar10-resnt'] })).toMatch(/Did you mean cifar10-resnet\?/);
    expect(await refusal({ device: 'webgp' })).toMatch(/Did you mean webgpu\?/);
  });

  it('with a reference that is missing, too small, or no statistics', async () => {
    expect(await refusal({ reference: join(folder, 'nowhere') })).toMatch(/the reference does not exist.*nowhere/);
    await mkdir(join(folder, 'no-pictures'));
    expect(await refusal({ reference: join(folder, 'no-pictures') })).toMatch(/has 0 pictures/);
    await writeFile(join(folder, 'text.npz'), 'not a zip');
    expect(await refusal({ reference: join(folder, 'text.npz') })).toMatch(/text\.npz/);
  });

  it('with its output in the pipeline', async () => {
    expect(await refusal({ out: join(tiny, 'out') })).toMatch(/output folder lies in the pipeline/);
  });
});

describe('an evaluation says beforehand', () => {
  it('that other parts than the denoiser differ', async () => {
    const same = await prepare({ folder: text, against: TEXT_PIPELINE });
    expect(same.notes).toEqual([]);
    const encoder = await textPipelineWith('other-encoder', 'text_encoder/config.json', '{}');
    const { notes } = await prepare({ folder: encoder, against: text });
    expect(notes).toEqual([
      { about: 'float', text: expect.stringMatching(/^the text encoder differ.*not denoisers$/) },
    ]);
    await writeFile(join(encoder, 'tokenizer', 'more.txt'), 'more');
    expect((await prepare({ folder: encoder, against: text })).notes[0]?.text).toMatch(
      /^the text encoder and the tokenizer differ/,
    );
    const denoiser = await textPipelineWith('other-unet', 'unet/more.txt', 'more');
    expect((await prepare({ folder: denoiser, against: text })).notes).toEqual([]);
  });

  it('when it could not be checked what the pipeline was calibrated on', async () => {
    const recipe = (prompts: object) => recipeSchema.parse({ name: 'mine', calibration: { seed: 3 }, prompts });
    const manifestOf = (value: unknown) => JSON.stringify({ generator: 'nibbleflow', recipe: value });
    const notesOf = async (name: string, manifest: string, settings: string[] = []) => {
      const quantized = await textPipelineWith(name, 'manifest.json', manifest);
      return (await prepare({ folder: quantized, settings })).notes;
    };
    const unknown = (why: RegExp) => [
      { about: 'all', text: expect.stringMatching(new RegExp(`could not be checked: .*${why.source}`)) },
    ];
    expect(await notesOf('known', manifestOf(recipe({})))).toEqual([]);
    expect(await notesOf('own-file', manifestOf(recipe({ file: 'mine.txt' })))).toEqual(unknown(/a file of its own/));
    expect(await notesOf('broken', '{')).toEqual(unknown(/not one that nibbleflow can read/));
    expect(await notesOf('other-recipe', manifestOf({ name: 1 }))).toEqual(unknown(/no recipe of this version/));
    expect((await prepare({ folder: text })).notes).toEqual([]);
  });

  it('that the pipeline was calibrated on the noise it is evaluated with', async () => {
    const recipe = recipeSchema.parse({ name: 'mine', calibration: { seed: 77 } });
    await writeFile(join(tiny, 'manifest.json'), JSON.stringify({ generator: 'nibbleflow', recipe }));
    try {
      expect((await prepare({ settings: ['seed=77'] })).notes[0]?.text).toMatch(/start noise of seed 77/);
      expect((await prepare({ settings: ['seed=78'] })).notes).toEqual([]);
    } finally {
      await rm(join(tiny, 'manifest.json'));
    }
  });
});

/** Another value for everything that a protocol sets. */
const CHANGES: Readonly<Record<string, string>> = {
  samples: '99',
  seed: '5',
  'sampling.steps': '7',
  'sampling.guidance': '3',
  resize: 'clean',
  metrics: '[kid]',
  trajectories: '8',
  timestepPairs: '32',
  'settings.seed': '8',
  'settings.neighbours': '3',
  'settings.kidSubsets': '9',
  'settings.kidSubsetSize': '20',
  'settings.projections': '10',
  'settings.splits': '4',
  'settings.permutations': '11',
  'settings.resamples': '12',
};
/** How a protocol is called, and how pictures are stored, decide no number; files count by what is in them. */
const DECIDES_NOTHING = ['name', 'images'];
const FILES = ['prompts', 'extractor'];

function leavesOf(value: object, before = ''): string[] {
  return Object.entries(value).flatMap(([name, inner]) =>
    typeof inner === 'object' && inner !== null && !Array.isArray(inner)
      ? leavesOf(inner as object, `${before}${name}.`)
      : [`${before}${name}`],
  );
}

describe('the digest of a protocol', () => {
  const digestOf = async (...settings: string[]) => (await prepare({ settings })).protocolDigest;

  it('is another for another value of every setting that decides numbers, and of no other', async () => {
    const all = leavesOf(protocolSchema.parse({ name: 'any' }));
    expect([...Object.keys(CHANGES), ...DECIDES_NOTHING, ...FILES].sort()).toEqual(all.sort());
    const digests = [await digestOf()];
    for (const [path, value] of Object.entries(CHANGES)) digests.push(await digestOf(`${path}=${value}`));
    expect(new Set(digests).size).toBe(digests.length);
    expect(await digestOf('images=png', 'name=other')).toBe(digests[0]);
  });

  it('is another for another extractor, and the same wherever its folder lies', async () => {
    const copies = ['here', 'there'].map((name) => join(folder, name));
    for (const copy of copies) await cp(join(ZOO, 'cifar10-resnet'), copy, { recursive: true });
    const [here, there] = copies as [string, string];
    const before = await digestOf();
    expect(await digestOf(`extractor=${here}`)).toBe(before);
    const file = join(there, 'extractor.json');
    const spec = JSON.parse(await readFile(file, 'utf8')) as { input: object };
    await writeFile(file, JSON.stringify({ ...spec, input: { ...spec.input, resize: 'pil-lanczos' } }));
    expect(await digestOf(`extractor=${there}`)).not.toBe(before);
  });

  it('is another for other prompts, and the same whatever their file is called', async () => {
    const files = { one: 'a cat\na dog\n', same: 'a cat\na dog\n', two: 'a cat\na bird\n' };
    const digests: string[] = [];
    for (const [name, lines] of Object.entries(files)) {
      const file = join(folder, `${name}.txt`);
      await writeFile(file, lines);
      const { protocolDigest, prompts } = await prepare({ folder: text, settings: [`prompts=${file}`] });
      digests.push(protocolDigest);
      const stored = await (await LocalStore.open(join(folder, 'home', 'store'))).getJson(prompts);
      expect(stored).toHaveLength(protocolSchema.parse({ name: 'any' }).samples);
    }
    expect(digests[1]).toBe(digests[0]);
    expect(digests[2]).not.toBe(digests[0]);
  });

  it('is another for another sampler', async () => {
    const other = join(folder, 'tiny-other-sampler');
    await writeTinyPipeline(other);
    const file = join(other, 'scheduler', 'scheduler_config.json');
    const config = JSON.parse(await readFile(file, 'utf8')) as object;
    await writeFile(file, JSON.stringify({ ...config, beta_end: 0.03 }));
    expect((await prepare({ folder: other })).protocolDigest).not.toBe(await digestOf());
  });
});
