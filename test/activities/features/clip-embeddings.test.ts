import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { EngineExecutor } from '../../../activities/engine/engine-executor.js';
import { type FoundExtractor, findExtractor } from '../../../activities/extractor-folder.js';
import { clipEmbeddings, openTextEncoder } from '../../../activities/features/clip-embeddings.js';
import { promptScore } from '../../../activities/features/prompt-score.js';
import { picturesInMemory } from '../../../activities/images/pictures-in-memory.js';
import { importOnnxExtractor } from '../../../activities/import-onnx-extractor.js';
import { packageFile } from '../../../activities/package-file.js';
import { LocalStore } from '../../../activities/store/local-store.js';
import { NibbleflowError } from '../../../contracts/errors.js';
import { type Score, scoreSchema } from '../../../contracts/score.js';
import { clipScores } from '../../../evaluation/metrics/clip-score.js';
import type { Images } from '../../../evaluation/metrics/image-pairs.js';
import { attribute, Graph, initializerFromTensor, node } from '../../../models/onnx/graph.js';
import { writeModel } from '../../../models/onnx/model-proto.js';
import { createTokenizer } from '../../../models/pipelines/tokenize.js';
import { permutation } from '../../../models/tensors/random.js';
import { concatRows, type Float32Tensor, float32, sliceRows } from '../../../models/tensors/tensor.js';

/**
 * A CLIP of two tiny encoders with planted weights: a picture's embedding is its mean colour, a prompt's embedding is the sum of
 * what its words say about red, green and blue. The tokenizer is CLIP's own.
 */

const TOKENIZER = packageFile('test/golden/tokenizers/clip');
const COLOURS = ['red', 'green', 'blue'] as const;
const VOCABULARY = 49_408;
/** Of sums of float32 numbers of size one. */
const TOLERANCE = 1e-6;

let folder: string;
let extractors: string;
let executor: EngineExecutor;
let table: Float32Array;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'nibbleflow-clip-'));
  extractors = join(folder, 'extractors');
  executor = await EngineExecutor.start({ device: 'cpu', threads: 1 });
  await writeClip(join(folder, 'tiny-clip'));
});
afterAll(async () => {
  await executor.close();
  await rm(folder, { recursive: true, force: true });
});

async function clipTokenizer() {
  const names = await readdir(TOKENIZER);
  const contents = new Map<string, Uint8Array>();
  for (const name of names) contents.set(`tokenizer/${name}`, await readFile(join(TOKENIZER, name)));
  const files = {
    name: 'clip',
    paths: () => [...contents.keys()],
    read: (path: string) => contents.get(path) as Uint8Array,
  };
  return createTokenizer({ files, tokenizer: { folder: 'tokenizer', maxLength: 16 } });
}

/** Small noise everywhere, and one for each colour's word. */
async function plantedTable(): Promise<Float32Array> {
  const tokenizer = await clipTokenizer();
  const values = Float32Array.from({ length: VOCABULARY * 3 }, (_, index) => 0.001 * Math.sin(index));
  for (const [axis, word] of COLOURS.entries()) {
    const [, id = 0] = tokenizer.encode(word);
    values[id * 3 + axis] = 1;
  }
  return values;
}

function pictureEncoder(): Graph {
  const graph = new Graph();
  graph.inputs = [{ name: 'pixel_values', type: 'float32', shape: ['n', 3, 8, 8] }];
  graph.nodes = [
    node('GlobalAveragePool', ['pixel_values'], ['pooled'], { name: 'pool' }),
    node('Flatten', ['pooled'], ['image_embeds'], { name: 'flatten' }),
  ];
  graph.outputs = [{ name: 'image_embeds', type: 'float32', shape: ['n', 3] }];
  return graph;
}

function textEncoder(): Graph {
  const graph = new Graph();
  graph.opset = 17;
  graph.inputs = [{ name: 'input_ids', type: 'int64', shape: ['n', 16] }];
  graph.addInitializer(initializerFromTensor('table', float32([VOCABULARY, 3], table)));
  graph.nodes = [
    node('Gather', ['table', 'input_ids'], ['words'], { name: 'gather' }),
    node('ReduceMean', ['words'], ['text_embeds'], {
      name: 'mean',
      attributes: { axes: attribute.ints([1]), keepdims: attribute.int(0) },
    }),
  ];
  graph.outputs = [{ name: 'text_embeds', type: 'float32', shape: ['n', 3] }];
  return graph;
}

async function writeClip(target: string): Promise<void> {
  table = await plantedTable();
  await mkdir(target);
  await writeFile(join(target, 'model.onnx'), writeModel(pictureEncoder()));
  await writeFile(join(target, 'text_model.onnx'), writeModel(textEncoder()));
  await cp(TOKENIZER, join(target, 'tokenizer'), { recursive: true });
  const spec = {
    name: 'tiny-clip',
    input: { name: 'pixel_values', layout: 'NCHW', size: [8, 8], resize: 'pil-bicubic', range: [0, 1] },
    outputs: { features: { name: 'image_embeds', dimension: 3 } },
    text: { maxLength: 16 },
  };
  await writeFile(join(target, 'extractor.json'), JSON.stringify(spec));
}

/** One picture of each colour. */
function colouredPictures(): Images {
  const data = Uint8Array.from({ length: 3 * 8 * 8 * 3 }, (_, index) =>
    index % 3 === Math.floor(index / (8 * 8 * 3)) ? 255 : 0,
  );
  return { type: 'uint8', dims: [3, 8, 8, 3], data };
}

const row = (rows: Float32Tensor, index: number): Float32Tensor => sliceRows(rows, index, index + 1) as Float32Tensor;

async function tiny(): Promise<FoundExtractor> {
  return findExtractor(join(folder, 'tiny-clip'), extractors);
}

describe('an extractor with a text encoder', () => {
  it('brings pictures nearer to the prompts that describe them', async () => {
    const prompts = COLOURS.map((colour) => `A picture that is all ${colour}.`);
    const { image, text } = await clipEmbeddings({
      found: await tiny(),
      executor,
      images: colouredPictures(),
      prompts,
    });
    for (let picture = 0; picture < 3; picture += 1) {
      const scores = prompts.map((_, prompt) => clipScores(row(image, picture), row(text, prompt))[0] ?? 0);
      expect(scores.indexOf(Math.max(...scores))).toBe(picture);
      expect(scores[picture]).toBeGreaterThan(90);
    }
  });

  it('scores pictures and prompts independent of their order, higher when they belong together', async () => {
    const found = await tiny();
    const store = await LocalStore.open(join(folder, 'store'));
    const context = { progress: () => undefined, breathe: async () => undefined };
    const common = { extractor: found, resize: 'extractor' as const, executor, store, context, protocol: null };
    const pictures = colouredPictures();
    const score = (order: readonly number[], prompts: readonly string[]): Promise<Score | null> => {
      const images = concatRows(order.map((index) => sliceRows(pictures, index % 3, (index % 3) + 1)));
      return promptScore({ ...common, images: picturesInMemory(images), prompts });
    };
    const order = Array.from({ length: 40 }, (_, index) => index);
    const describe = (index: number): string => `a ${COLOURS[index % 3]} picture, number ${index}`;
    const fitting = await score(order, order.map(describe));
    const shuffled = permutation(3, 0, 40);
    const again = await score([...shuffled], Array.from(shuffled, describe));
    const wrong = await score(
      order,
      order.map((index) => describe(index + 1)),
    );
    expect(again).toEqual(fitting);
    expect(scoreSchema.parse(fitting)).toEqual(fitting);
    expect(fitting?.name).toMatch(/^clip-score\[tiny-clip@[0-9a-f]{8}\]-40$/);
    expect(fitting?.name).not.toContain(found.sha256.slice(0, 8));
    expect(fitting?.value ?? 0).toBeGreaterThan(90);
    expect(wrong?.value ?? 0).toBeLessThan(20);
    const bundled = await findExtractor('cifar10-resnet', extractors);
    expect(
      await promptScore({ ...common, extractor: bundled, images: picturesInMemory(pictures), prompts: ['', '', ''] }),
    ).toBe(null);
    await expect(score([0, 1], ['one'])).rejects.toThrow(/2 pictures have 1 prompts/);
  });

  it('computes what its weights and tokens say, whatever stands beside a prompt', async () => {
    const tokenizer = await clipTokenizer();
    const prompts = Array.from({ length: 37 }, (_, index) => `${COLOURS[index % 3]} square number ${index % 20}`);
    const encoder = await openTextEncoder(await tiny(), executor);
    const together = await encoder?.embed(prompts);
    const alone = await encoder?.embed(prompts.slice(5, 6));
    await encoder?.release();
    expect(together?.dims).toEqual([37, 3]);
    expect(row(together as Float32Tensor, 5).data).toEqual(alone?.data);
    for (const [index, prompt] of prompts.entries()) {
      const { ids } = tokenizer.encodePadded(prompt);
      for (let axis = 0; axis < 3; axis += 1) {
        const expected = ids.reduce((sum, id) => sum + (table[id * 3 + axis] as number), 0) / 16;
        expect(Math.abs((together?.data[index * 3 + axis] ?? 0) - expected)).toBeLessThan(TOLERANCE);
      }
    }
  });

  it('is imported whole, and has a digest of its own for pictures, texts and tokenizer together', async () => {
    const imported = await importOnnxExtractor({ folder: join(folder, 'tiny-clip'), extractorsDir: extractors });
    expect((await readdir(imported.folder)).sort()).toEqual([
      'extractor.json',
      'model.onnx',
      'text_model.onnx',
      'tokenizer',
    ]);
    const digestOf = async (found: FoundExtractor): Promise<string | undefined> => {
      const encoder = await openTextEncoder(found, executor);
      await encoder?.release();
      return encoder?.sha256;
    };
    const before = await digestOf(imported);
    expect(before).toBe(await digestOf(await tiny()));
    table.set([5], 0);
    await writeFile(join(imported.folder, 'text_model.onnx'), writeModel(textEncoder()));
    expect(await digestOf(imported)).not.toBe(before);
    await rm(imported.folder, { recursive: true });
  });

  it('is refused when text and pictures do not fit together, or files are missing', async () => {
    const broken = join(folder, 'broken-clip');
    await cp(join(folder, 'tiny-clip'), broken, { recursive: true });
    const wide = textEncoder();
    wide.initializers.set('table', initializerFromTensor('table', float32([3, 5], new Float32Array(15))));
    wide.outputs = [{ name: 'text_embeds', type: 'float32', shape: ['n', null] }];
    const narrowIds = [...wide.nodes];
    wide.nodes = [
      node('Constant', [], ['three'], { name: 'three', attributes: { value_int: attribute.int(3) } }),
      node('Mod', ['input_ids', 'three'], ['few'], { name: 'few' }),
      ...narrowIds.map((each) => ({
        ...each,
        inputs: each.inputs.map((input) => (input === 'input_ids' ? 'few' : input)),
      })),
    ];
    await writeFile(join(broken, 'text_model.onnx'), writeModel(wide));
    expect(await refused(broken)).toMatch(/the text encoder gives \[16, 5\], not \[16, 3\]/);
    await rm(join(broken, 'text_model.onnx'));
    expect(await refused(broken)).toMatch(/the model cannot be read: ENOENT.*text_model\.onnx/);
    await cp(join(folder, 'tiny-clip', 'text_model.onnx'), join(broken, 'text_model.onnx'));
    await rm(join(broken, 'tokenizer'), { recursive: true });
    expect(await refused(broken)).toMatch(/no tokenizer/);
    expect(await readdir(extractors)).toEqual([]);
  });

  it('reads nothing outside its folder', async () => {
    const escaping = join(folder, 'escaping-clip');
    await cp(join(folder, 'tiny-clip'), escaping, { recursive: true });
    for (const path of ['../tiny-clip/text_model.onnx', '/etc/passwd', 'a/../../b', '..']) {
      const spec = JSON.parse(await readFile(join(escaping, 'extractor.json'), 'utf8'));
      spec.text = { model: path };
      await writeFile(join(escaping, 'extractor.json'), JSON.stringify(spec));
      expect(await refused(escaping)).toMatch(/a path inside the folder/);
    }
  });

  async function refused(source: string): Promise<string> {
    const outcome = await importOnnxExtractor({ folder: source, extractorsDir: extractors, name: 'tried' }).catch(
      (error: unknown) => error,
    );
    expect(outcome).toBeInstanceOf(NibbleflowError);
    return String(outcome);
  }
});
