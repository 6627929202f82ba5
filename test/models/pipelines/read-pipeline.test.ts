import { describe, expect, it } from 'vitest';
import { NibbleflowError } from '../../../contracts/errors.js';
import { readComponentGraph } from '../../../models/pipelines/component-graph.js';
import type { PipelineFiles } from '../../../models/pipelines/pipeline-files.js';
import { readPipeline } from '../../../models/pipelines/read-pipeline.js';
import { changedFiles, pipelineFolder } from './pipeline-folder.js';

const ZOO = 'models/zoo/emoji-t2i';
const GOLDEN = 'test/golden/pipelines';

function failureOf(files: PipelineFiles): NibbleflowError {
  try {
    readPipeline(files);
  } catch (error) {
    if (error instanceof NibbleflowError) return error;
    throw error;
  }
  throw new Error('expected a failure');
}

function text(files: PipelineFiles, path: string): string {
  return new TextDecoder().decode(files.read(path));
}

describe('readPipeline', () => {
  it('understands the zoo text-to-image pipeline', () => {
    const pipeline = readPipeline(pipelineFolder(ZOO));
    expect(pipeline).toMatchObject({
      name: 'emoji-t2i',
      className: 'StableDiffusionPipeline',
      trainTimesteps: 1000,
      denoiser: {
        role: 'unet',
        folder: 'unet',
        modelPath: 'unet/model.onnx',
        inputs: { sample: 'sample', timestep: 'timestep', conditioning: 'encoder_hidden_states', classLabels: null },
        output: 'out_sample',
        sampleDims: [12, 16, 16],
        sampleType: 'float32',
        timestepType: 'int64',
        timestepRows: 'one-or-batch',
        classes: null,
        predictsVariance: false,
      },
      textEncoder: { inputs: { ids: 'input_ids', attentionMask: null }, idsType: 'int64', output: 'last_hidden_state' },
      tokenizer: { folder: 'tokenizer', maxLength: 16 },
      vaeDecoder: { input: 'latent_sample', output: 'sample', scalingFactor: 1, shiftFactor: 0 },
    });
  });

  it.each([
    ['ddpm_uncond', { role: 'unet', sampleDims: [3, 16, 16], timestepRows: 'one-or-batch', timestepType: 'int64' }],
    ['ddpm_uncond_dynamo', { role: 'unet', sampleDims: [3, 16, 16], timestepRows: 'batch', timestepType: 'int64' }],
    ['ddpm_uncond_fp16', { role: 'unet', sampleType: 'float16', timestepType: 'int64' }],
    [
      'dit_class',
      { role: 'transformer', timestepRows: 'batch', classes: 10, predictsVariance: true, sampleDims: [4, 8, 8] },
    ],
    [
      'sit_flow',
      { role: 'transformer', timestepType: 'float32', classes: 5, predictsVariance: false, sampleDims: [3, 16, 16] },
    ],
    ['sd_text2img', { role: 'unet', sampleDims: [4, 8, 8], timestepRows: 'one-or-batch' }],
  ])('understands the denoiser of %s', (name, denoiser) => {
    expect(readPipeline(pipelineFolder(`${GOLDEN}/${name}`)).denoiser).toMatchObject(denoiser);
  });

  it('finds a VAE decoder under both names of model_index.json, and none in pixel space', () => {
    const scaling = (name: string): number | undefined =>
      readPipeline(pipelineFolder(`${GOLDEN}/${name}`)).vaeDecoder?.scalingFactor;
    expect(scaling('sd_text2img')).toBe(0.18215);
    expect(scaling('dit_class')).toBe(0.18215);
    expect(scaling('ddpm_uncond')).toBeUndefined();
  });

  it('reads weights that lie in an external data file', () => {
    const files = pipelineFolder(`${GOLDEN}/ddpm_uncond_dynamo`);
    const graph = readComponentGraph(files, readPipeline(files).denoiser);
    const bytes = [...graph.initializers.values()].reduce((sum, initializer) => sum + initializer.raw.byteLength, 0);
    expect(bytes).toBeGreaterThan(300_000);
  });
});

describe('readPipeline on a folder it cannot use', () => {
  const zoo = pipelineFolder(ZOO);

  it.each([
    ['no model_index.json', { 'model_index.json': null }, 'model_index.json'],
    ['broken JSON', { 'model_index.json': '{"_class_name": ' }, 'no valid JSON'],
    ['a JSON array', { 'model_index.json': '[]' }, 'holds no JSON object'],
    [
      'no denoiser listed',
      { 'model_index.json': '{"_class_name": "X", "unet": [null, null]}' },
      'neither a unet nor a transformer',
    ],
    ['no denoiser file', { 'unet/model.onnx': null }, 'component unet has no .onnx file'],
    ['no text encoder file', { 'text_encoder/model.onnx': null }, 'component text_encoder has no .onnx file'],
    ['no VAE decoder file', { 'vae_decoder/model.onnx': null }, 'component vae_decoder has no .onnx file'],
    ['no scheduler', { 'scheduler/scheduler_config.json': null }, 'scheduler/scheduler_config.json'],
    ['no tokenizer config', { 'tokenizer/tokenizer_config.json': null }, 'tokenizer/tokenizer_config.json'],
  ] as const)('says so when there is %s', (_, changes, message) => {
    const failure = failureOf(changedFiles(zoo, changes));
    expect(failure.kind).toBe('InvalidModel');
    expect(failure.message).toContain(message);
    expect(failure.message).toContain('emoji-t2i');
  });

  it('refuses a truncated denoiser', () => {
    const failure = failureOf(
      changedFiles(zoo, { 'unet/model.onnx': zoo.read('unet/model.onnx').subarray(0, 100_000) }),
    );
    expect(failure.kind).toBe('InvalidModel');
    expect(failure.message).toContain('unet/model.onnx');
  });

  it('refuses a pipeline with two text encoders', () => {
    const index = { ...JSON.parse(text(zoo, 'model_index.json')), text_encoder_2: ['transformers', 'CLIPTextModel'] };
    const failure = failureOf(changedFiles(zoo, { 'model_index.json': JSON.stringify(index) }));
    expect(failure.message).toContain('text_encoder_2');
  });

  it('refuses a denoiser that reads text when the pipeline has no text encoder', () => {
    const index = { ...JSON.parse(text(zoo, 'model_index.json')), text_encoder: [null, null] };
    const failure = failureOf(changedFiles(zoo, { 'model_index.json': JSON.stringify(index) }));
    expect(failure.message).toContain('no text encoder');
  });

  it('refuses an unknown scheduler class and lists the known ones', () => {
    const config = text(pipelineFolder('test/golden/malformed/scheduler/unknown_class'), 'scheduler_config.json');
    const failure = failureOf(changedFiles(zoo, { 'scheduler/scheduler_config.json': config }));
    expect(failure.kind).toBe('InvalidModel');
    expect(failure.message).toContain('QuantumLeapScheduler');
    expect(failure.message).toContain('DDIMScheduler');
  });

  it('says which sizes are missing when neither graph nor config has them', () => {
    const failure = failureOf(changedFiles(zoo, { 'unet/config.json': '{}' }));
    expect(failure.message).toContain('height');
  });

  it('names missing external data', () => {
    const files = pipelineFolder(`${GOLDEN}/ddpm_uncond_dynamo`);
    const failure = failureOf(changedFiles(files, { 'unet/model.onnx.data': null }));
    expect(failure.kind).toBe('InvalidModel');
    expect(failure.message).toContain('model.onnx.data');
  });

  it('ignores files it does not know', () => {
    expect(readPipeline(changedFiles(zoo, { 'notes.txt': 'hello' })).name).toBe('emoji-t2i');
  });
});
