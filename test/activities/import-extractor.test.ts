import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { EngineExecutor } from '../../activities/engine/engine-executor.js';
import { type FoundExtractor, findExtractor, listExtractors } from '../../activities/extractor-folder.js';
import { importInception } from '../../activities/import-inception.js';
import { importOnnxExtractor } from '../../activities/import-onnx-extractor.js';
import { packageFile } from '../../activities/package-file.js';
import { NibbleflowError } from '../../contracts/errors.js';
import { extractFeatures } from '../../evaluation/features/extract-features.js';
import type { FeatureSet } from '../../evaluation/features/feature-set.js';
import type { Images } from '../../evaluation/metrics/image-pairs.js';
import { scoreSets } from '../../evaluation/score-sets.js';
import { Graph, initializerFromTensor, node } from '../../models/onnx/graph.js';
import { writeModel } from '../../models/onnx/model-proto.js';
import { ModelProtoSchema, StringStringEntryProtoSchema, TensorProto_DataLocation } from '../../models/onnx/onnx_pb.js';
import { float32, type Tensor } from '../../models/tensors/tensor.js';
import { formulaWeights, goldenArray } from '../evaluation/features/inception/formula-weights.js';
import { metricContext, normalRows } from '../evaluation/metrics/metric-context.js';
import { stateDictFile } from '../models/weights/torch-files.js';

/** Of max|pool3|: the golden's 2e-4 leaves room for how the engine fuses normalizations into convolutions. */
const FEATURE_TOLERANCE = 2e-4;
const ZOO = packageFile('models/zoo/cifar10-resnet');

let folder: string;
let extractors: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'nibbleflow-extractors-'));
  extractors = join(folder, 'state', 'extractors');
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function refused(action: Promise<unknown>): Promise<string> {
  const outcome = await action.catch((error: unknown) => error);
  expect(outcome).toBeInstanceOf(NibbleflowError);
  return String(outcome);
}

/** uint8 [n, 3, h, w] as [n, h, w, 3]. */
function channelsLast({ dims, data }: Tensor): Images {
  const [n = 0, channels = 0, height = 0, width = 0] = dims;
  const plane = height * width;
  const result = Uint8Array.from(data as Uint8Array, (_, index) => {
    const [channel, place, picture] = [
      index % channels,
      Math.floor(index / channels) % plane,
      Math.floor(index / channels / plane),
    ];
    return (data as Uint8Array)[(picture * channels + channel) * plane + place] as number;
  });
  return { type: 'uint8', dims: [n, height, width, channels], data: result };
}

async function features(found: FoundExtractor, images: Images): Promise<Float32Array> {
  const executor = await EngineExecutor.start({ device: 'cpu', threads: 1 });
  try {
    const extractor = await executor.open(found.model);
    const { pool } = await extractFeatures({ extractor, spec: found.spec, images, mode: 'legacy', batchSize: 1 });
    await extractor.release();
    return pool.data;
  } finally {
    await executor.close();
  }
}

describe('weights of the Inception network', () => {
  let file: string;
  beforeAll(async () => {
    file = join(folder, 'pt_inception-2015-12-05-6726825d.pth');
    await writeFile(file, stateDictFile(formulaWeights()));
  });

  it('that are not the published ones are refused, whatever their file is called', async () => {
    const message = await refused(importInception({ file, extractorsDir: extractors }));
    expect(message).toMatch(
      /not the published ones: their sha256 begins with [0-9a-f]{8}, the published file's with 6726825d/,
    );
    expect(message).toMatch(/--allow-unpublished NAME/);
    expect(await readdir(extractors).catch(() => [])).toEqual([]);
  });

  it.each([
    ['inception-2015', /only pt_inception-2015-12-05-6726825d\.pth has this name/],
    ['my-fid', /FID is the distance of one published network/],
    ['cifar10-resnet', /a bundled extractor has this name/],
    ['../elsewhere', /lower case letters/],
    ['', /lower case letters/],
  ])('cannot be called %j', async (unpublishedName, message) => {
    expect(await refused(importInception({ file, extractorsDir: extractors, unpublishedName }))).toMatch(message);
    expect(await readdir(extractors).catch(() => [])).toEqual([]);
  });

  it('are imported under another name, compute what pytorch-fid computes, and are never called FID', async () => {
    const lines: string[] = [];
    const say = (line: string): void => void lines.push(line);
    const found = await importInception({ file, extractorsDir: extractors, unpublishedName: 'formula', say });
    expect(lines.join('\n')).toMatch(/Reading .*\(96 MB\)\nsha256 [0-9a-f]{64}\nRunning it on one picture/);
    expect(found).toMatchObject({ origin: 'imported', isFidInception: false, spec: { name: 'formula' } });
    expect((await findExtractor('formula', extractors)).isFidInception).toBe(false);
    expect((await findExtractor(found.folder, extractors)).isFidInception).toBe(false);

    const pool3 = goldenArray('wide.pool3.npy').data as Float32Array;
    const computed = await features(found, channelsLast(goldenArray('wide.input_u8_nchw.npy')));
    const largest = pool3.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    const difference = computed.reduce(
      (most, value, index) => Math.max(most, Math.abs(value - (pool3[index] ?? 0))),
      0,
    );
    expect(computed.length).toBe(pool3.length);
    expect(difference).toBeLessThan(FEATURE_TOLERANCE * largest);
  });

  it('give scores that are named after them', async () => {
    const found = await findExtractor('formula', extractors);
    const setOf = (seed: number): FeatureSet => ({
      extractor: { name: found.spec.name, sha256: found.sha256 },
      keys: Array.from({ length: 32 }, (_, index) => String(index).padStart(64, '0')),
      pool: normalRows(seed, 32, 8),
    });
    const request = {
      ...{ fake: setOf(1), real: setOf(2), against: 'reference' as const, metrics: ['frechet'], protocol: null },
      context: metricContext(),
    };
    const nameOf = async (isPublishedInception: boolean): Promise<string | undefined> =>
      (await scoreSets({ ...request, isPublishedInception }))[0]?.name;
    expect(await nameOf(found.isFidInception)).toBe(`frechet[formula@${found.sha256.slice(0, 8)}]-32`);
    expect(await nameOf(true)).toBe('fid-32');
  });

  it('give the same model each time, in place of the one before', async () => {
    const [before, after] = [
      await findExtractor('formula', extractors),
      await importInception({ file, extractorsDir: extractors, unpublishedName: 'formula' }),
    ];
    expect(after.sha256).toBe(before.sha256);
    expect(await readdir(extractors)).toEqual(['formula']);
  });

  it('are not used any more when their model was changed', async () => {
    const found = await findExtractor('formula', extractors);
    const model = await readFile(found.modelPath);
    model[model.length - 100] = (model[model.length - 100] ?? 0) ^ 1;
    await writeFile(found.modelPath, model);
    expect(await refused(findExtractor('formula', extractors))).toMatch(/not the one that was imported/);
    const listed = (await listExtractors(extractors)).find(({ name }) => name === 'formula');
    expect(listed).toMatchObject({ found: null, problem: expect.stringMatching(/not the one that was imported/) });
    await rm(found.folder, { recursive: true });
  });
});

/** Mean colours times [3, 2] weights, which lie in weights.bin behind four bytes. */
function modelWithExternalData(): Uint8Array {
  const graph = new Graph();
  graph.inputs = [{ name: 'images', type: 'float32', shape: ['n', 3, 4, 4] }];
  graph.addInitializer(initializerFromTensor('weights', float32([3, 2], new Float32Array(6))));
  graph.nodes = [
    node('GlobalAveragePool', ['images'], ['pooled'], { name: 'pool' }),
    node('Flatten', ['pooled'], ['flat'], { name: 'flatten' }),
    node('MatMul', ['flat', 'weights'], ['features'], { name: 'product' }),
  ];
  graph.outputs = [{ name: 'features', type: 'float32', shape: ['n', 2] }];
  const model = fromBinary(ModelProtoSchema, writeModel(graph));
  const weights = model.graph?.initializer[0];
  if (weights === undefined) throw new RangeError('a model without weights');
  weights.rawData = new Uint8Array(0);
  weights.dataLocation = TensorProto_DataLocation.EXTERNAL;
  weights.externalData = [
    create(StringStringEntryProtoSchema, { key: 'location', value: 'weights.bin' }),
    create(StringStringEntryProtoSchema, { key: 'offset', value: '4' }),
  ];
  return toBinary(ModelProtoSchema, model);
}

/** What the tests change of an extractor.json. */
interface LooseSpec {
  name: string;
  input: Record<string, unknown>;
  outputs: { features: Record<string, unknown> };
  layers?: readonly { name: string }[];
}

describe('ONNX feature models', () => {
  /** A copy of the bundled one with another description. */
  async function folderWith(name: string, change: (spec: LooseSpec) => void): Promise<string> {
    const copy = join(folder, name);
    await cp(ZOO, copy, { recursive: true });
    const spec = JSON.parse(await readFile(join(copy, 'extractor.json'), 'utf8')) as LooseSpec;
    spec.name = name;
    change(spec);
    await writeFile(join(copy, 'extractor.json'), JSON.stringify(spec));
    return copy;
  }

  it('are imported as they are, and found by their name', async () => {
    const source = await folderWith('my-resnet', () => undefined);
    const found = await importOnnxExtractor({ folder: source, extractorsDir: extractors });
    const bundled = await findExtractor('cifar10-resnet', extractors);
    expect(found).toMatchObject({ origin: 'imported', sha256: bundled.sha256, isFidInception: false });
    expect(found.spec.outputs).toEqual(bundled.spec.outputs);
    expect((await listExtractors(extractors)).map(({ name }) => name)).toEqual(['cifar10-resnet', 'my-resnet']);
    await rm(found.folder, { recursive: true });
  });

  it.each<[string, (spec: LooseSpec) => void, RegExp]>([
    [
      'another number of features',
      (spec) => Object.assign(spec.outputs.features, { dimension: 64 }),
      /must be \[1, 64\], got \[1, 128\]/,
    ],
    [
      'an output that it does not have',
      (spec) => Object.assign(spec.outputs.features, { name: 'pool' }),
      /has no output pool, but/,
    ],
    ['another input', (spec) => Object.assign(spec.input, { name: 'x' }), /it reads images/],
    [
      'a layer that it does not have',
      (spec) => Object.assign(spec, { layers: [{ name: 'relu9' }] }),
      /no values called relu9/,
    ],
    ['no description of its input', (spec) => Object.assign(spec, { input: {} }), /not a feature extractor/],
    [
      'the name of a bundled one',
      (spec) => Object.assign(spec, { name: 'cifar10-resnet' }),
      /a bundled extractor has this name/,
    ],
  ])('are refused when their description says %s', async (what, change, message) => {
    const source = await folderWith(`bad-${what.replaceAll(' ', '-')}`, change);
    expect(await refused(importOnnxExtractor({ folder: source, extractorsDir: extractors }))).toMatch(message);
    expect(await readdir(extractors)).toEqual([]);
  });

  it('that keep their data in other files are imported with the data inside, and refused without them', async () => {
    const source = join(folder, 'external');
    await mkdir(source);
    await writeFile(join(source, 'model.onnx'), modelWithExternalData());
    await writeFile(join(source, 'weights.bin'), new Uint8Array(Float32Array.of(9, 1, 2, 3, 4, 5, 6).buffer));
    const spec = {
      name: 'external',
      input: { name: 'images', layout: 'NCHW', size: [4, 4], resize: 'pil-bicubic', range: [0, 1] },
      outputs: { features: { name: 'features', dimension: 2 } },
    };
    await writeFile(join(source, 'extractor.json'), JSON.stringify(spec));
    const found = await importOnnxExtractor({ folder: source, extractorsDir: extractors });
    expect((await readdir(found.folder)).sort()).toEqual(['extractor.json', 'model.onnx']);
    const white: Images = { type: 'uint8', dims: [1, 4, 4, 3], data: new Uint8Array(48).fill(255) };
    expect([...(await features(found, white))]).toEqual([1 + 3 + 5, 2 + 4 + 6]);
    await rm(found.folder, { recursive: true });
    await writeFile(join(source, 'weights.bin'), new Uint8Array(27));
    expect(await refused(importOnnxExtractor({ folder: source, extractorsDir: extractors }))).toMatch(/too short/);
    expect(await readdir(extractors)).toEqual([]);
  });

  it('end with where they cannot be kept', async () => {
    const place = join(folder, 'a-file');
    await writeFile(place, '');
    const source = await folderWith('unkept', () => undefined);
    const message = await refused(importOnnxExtractor({ folder: source, extractorsDir: join(place, 'extractors') }));
    expect(message).toMatch(/cannot write: (ENOTDIR|EEXIST)/);
  });

  it('are refused when they are none', async () => {
    const source = await folderWith('no-model', () => undefined);
    await writeFile(join(source, 'model.onnx'), 'PK this is no model');
    expect(await refused(importOnnxExtractor({ folder: source, extractorsDir: extractors }))).toMatch(
      /InvalidModel|ONNX/,
    );
    await rm(join(source, 'model.onnx'));
    expect(await refused(importOnnxExtractor({ folder: source, extractorsDir: extractors }))).toMatch(
      /no such file.*model\.onnx/,
    );
  });
});

describe('an extractor', () => {
  it('that is unknown is refused with the nearest name', async () => {
    expect(await refused(findExtractor('cifar-resnet', extractors))).toMatch(
      /Did you mean cifar10-resnet\? Known: cifar10-resnet\./,
    );
  });

  it('that was not imported is refused with how to import it', async () => {
    const message = await refused(findExtractor('inception-2015', extractors));
    expect(message).toMatch(/extractor import inception pt_inception-2015-12-05-6726825d\.pth` makes inception-2015/);
  });

  it('in a folder is found by its path', async () => {
    expect(await findExtractor(ZOO, extractors)).toMatchObject({ origin: 'folder', spec: { name: 'cifar10-resnet' } });
  });

  it('in a folder without a description, or with a broken one, is refused', async () => {
    const empty = join(folder, 'empty');
    await mkdir(empty);
    expect(await refused(findExtractor(empty, extractors))).toMatch(/no such file.*extractor\.json/);
    await writeFile(join(empty, 'extractor.json'), '{');
    expect(await refused(findExtractor(empty, extractors))).toMatch(/not JSON/);
  });
});
