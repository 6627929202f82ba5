import { NibbleflowError } from '../../contracts/errors.js';
import { createSampler } from '../samplers/create-sampler.js';
import { SCHEDULER_CONFIG_PATH } from '../samplers/sampler-config.js';
import { elementTypeOf, findModelPath, readComponentGraph } from './component-graph.js';
import type { Denoiser, Pipeline, TextEncoder, TokenizerSource, VaeDecoder } from './pipeline.js';
import type { PipelineFiles } from './pipeline-files.js';
import { type JsonObject, numberOf, readJsonObject, readOptionalJsonObject } from './pipeline-json.js';
import { readDenoiser } from './read-denoiser.js';

export type { Component, Denoiser, Pipeline, TextEncoder, VaeDecoder } from './pipeline.js';

/** Components of model_index.json that cannot be left out and are not understood. */
const UNSUPPORTED_COMPONENTS = [
  'text_encoder_2',
  'text_encoder_3',
  'transformer_2',
  'controlnet',
  'image_encoder',
  'prior',
  'movq',
];

/** What diffusers' AutoencoderKL uses when its config does not say. */
const KL_SCALING_FACTOR = 0.18215;

/** Longer limits are a tokenizer's way of saying "no limit". */
const LARGEST_TOKEN_LIMIT = 100_000;

/**
 * Reads a pipeline folder in the diffusers layout: model_index.json, scheduler/, unet/ or transformer/, and, where the
 * pipeline has them, text_encoder/, tokenizer/ and vae_decoder/.
 * @throws NibbleflowError InvalidModel naming what is missing, broken or not supported
 */
export function readPipeline(files: PipelineFiles): Pipeline {
  const index = readJsonObject(files, 'model_index.json');
  const className = typeof index._class_name === 'string' ? index._class_name : 'an unnamed pipeline';
  const role = denoiserRole(files, index);
  const unsupported = UNSUPPORTED_COMPONENTS.filter((name) => lists(index, name));
  if (unsupported.length > 0) {
    throw new NibbleflowError('InvalidModel', `${className} needs ${unsupported.join(', ')}, which is not supported`, {
      where: `${files.name}/model_index.json`,
      fix: 'Supported: one denoiser with at most one text encoder and one VAE.',
    });
  }
  const schedulerConfig = readJsonObject(files, SCHEDULER_CONFIG_PATH);
  createSampler(schedulerConfig, 1);
  const textEncoder = lists(index, 'text_encoder') ? readTextEncoder(files) : null;
  const denoiser = readDenoiser(files, role);
  checkConditioning(files, denoiser, textEncoder);
  return {
    name: files.name,
    className,
    files,
    schedulerConfig,
    trainTimesteps: numberOf(schedulerConfig, 'num_train_timesteps') ?? 1000,
    denoiser,
    textEncoder,
    tokenizer: textEncoder === null ? null : readTokenizerSource(files, textEncoder.config),
    vaeDecoder: lists(index, 'vae') || lists(index, 'vae_decoder') ? readVaeDecoder(files) : null,
  };
}

/** Whether model_index.json has a component: a pair of library and class, neither null. */
function lists(index: JsonObject, name: string): boolean {
  const entry = index[name];
  return Array.isArray(entry) && entry.length === 2 && entry.every((part) => typeof part === 'string');
}

function denoiserRole(files: PipelineFiles, index: JsonObject): Denoiser['role'] {
  const roles = (['unet', 'transformer'] as const).filter((name) => lists(index, name));
  const [role] = roles;
  if (role !== undefined && roles.length === 1) return role;
  const what = roles.length === 0 ? 'lists neither a unet nor a transformer' : 'lists both a unet and a transformer';
  throw new NibbleflowError('InvalidModel', `model_index.json ${what}`, {
    where: `${files.name}/model_index.json`,
    fix: 'Give the folder of a diffusion pipeline with one denoiser.',
  });
}

function readTextEncoder(files: PipelineFiles): TextEncoder {
  const folder = 'text_encoder';
  const modelPath = findModelPath(files, folder);
  const where = `${files.name}/${modelPath}`;
  const graph = readComponentGraph(files, { folder, modelPath });
  const ids = graph.inputs.find((input) => input.name === 'input_ids');
  const mask = graph.inputs.find((input) => input.name === 'attention_mask');
  const output = graph.outputs.find((value) => value.name === 'last_hidden_state') ?? graph.outputs[0];
  const others = graph.inputs.filter((input) => input !== ids && input !== mask);
  if (ids === undefined || output === undefined || others.length > 0) {
    throw new NibbleflowError(
      'InvalidModel',
      'the text encoder does not map input_ids (and attention_mask) to hidden states',
      {
        where,
        fix: `Its inputs are ${graph.inputs.map((input) => input.name).join(', ')}.`,
      },
    );
  }
  return {
    folder,
    modelPath,
    config: readOptionalJsonObject(files, `${folder}/config.json`),
    inputs: { ids: ids.name, attentionMask: mask?.name ?? null },
    idsType: elementTypeOf(ids, ['int64', 'int32'] as const, where),
    output: output.name,
    outputType: elementTypeOf(output, ['float32', 'float16'] as const, where),
  };
}

function checkConditioning(files: PipelineFiles, denoiser: Denoiser, textEncoder: TextEncoder | null): void {
  if ((denoiser.inputs.conditioning !== null) === (textEncoder !== null)) return;
  const what =
    textEncoder === null
      ? `the denoiser reads ${denoiser.inputs.conditioning}, but the pipeline has no text encoder`
      : 'the pipeline has a text encoder, but the denoiser does not read encoder_hidden_states';
  throw new NibbleflowError('InvalidModel', what, { where: `${files.name}/${denoiser.modelPath}` });
}

function readTokenizerSource(files: PipelineFiles, encoderConfig: JsonObject): TokenizerSource {
  const folder = 'tokenizer';
  const config = readJsonObject(files, `${folder}/tokenizer_config.json`);
  const limits = [numberOf(config, 'model_max_length'), numberOf(encoderConfig, 'max_position_embeddings')];
  const maxLength = limits.find((limit) => limit !== undefined && limit > 1 && limit < LARGEST_TOKEN_LIMIT);
  if (maxLength !== undefined) return { folder, maxLength };
  throw new NibbleflowError('InvalidModel', 'the number of tokens of a prompt is not known', {
    where: `${files.name}/${folder}/tokenizer_config.json`,
    fix: 'Add model_max_length to the file.',
  });
}

function readVaeDecoder(files: PipelineFiles): VaeDecoder {
  const folder = 'vae_decoder';
  const modelPath = findModelPath(files, folder);
  const where = `${files.name}/${modelPath}`;
  const config = readOptionalJsonObject(files, `${folder}/config.json`);
  const graph = readComponentGraph(files, { folder, modelPath });
  const [input] = graph.inputs;
  const [output] = graph.outputs;
  if (input === undefined || output === undefined || graph.inputs.length > 1) {
    throw new NibbleflowError('InvalidModel', 'the VAE decoder does not map one latent to one picture', {
      where,
      fix: `Its inputs are ${graph.inputs.map((value) => value.name).join(', ') || 'none'}.`,
    });
  }
  if (Array.isArray(config.latents_mean) || Array.isArray(config.latents_std)) {
    throw new NibbleflowError('InvalidModel', 'a VAE with latents_mean and latents_std is not supported', { where });
  }
  const usual = config._class_name === 'AutoencoderKL' ? KL_SCALING_FACTOR : 1;
  return {
    folder,
    modelPath,
    config,
    input: input.name,
    inputType: elementTypeOf(input, ['float32', 'float16'] as const, where),
    output: output.name,
    scalingFactor: numberOf(config, 'scaling_factor') ?? usual,
    shiftFactor: numberOf(config, 'shift_factor') ?? 0,
  };
}
