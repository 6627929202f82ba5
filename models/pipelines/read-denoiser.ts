import { NibbleflowError } from '../../contracts/errors.js';
import type { Graph, ValueInfo } from '../onnx/graph.js';
import { elementTypeOf, findModelPath, readComponentGraph } from './component-graph.js';
import { TIMESTEP_TYPES } from './denoiser-feeds.js';
import type { Denoiser } from './pipeline.js';
import type { PipelineFiles } from './pipeline-files.js';
import { type JsonObject, numberOf, readOptionalJsonObject } from './pipeline-json.js';

/** Names that exporters give the inputs, by what they mean. */
const INPUT_NAMES = {
  sample: ['sample', 'hidden_states', 'latent_sample', 'x'],
  timestep: ['timestep', 'timesteps', 't'],
  conditioning: ['encoder_hidden_states'],
  classLabels: ['class_labels', 'class_label'],
} as const;

type InputRole = keyof typeof INPUT_NAMES;

const FLOAT_TYPES = ['float32', 'float16'] as const;
const LABEL_TYPES = ['int64', 'int32'] as const;

/**
 * Reads the denoiser: what its inputs mean, and the shape of what it denoises.
 * @throws NibbleflowError InvalidModel when an input cannot be fed or the sample's shape is not said anywhere
 */
export function readDenoiser(files: PipelineFiles, role: Denoiser['role']): Denoiser {
  const modelPath = findModelPath(files, role);
  const where = `${files.name}/${modelPath}`;
  const config = readOptionalJsonObject(files, `${role}/config.json`);
  const graph = readComponentGraph(files, { folder: role, modelPath });
  const inputs = inputsByRole(graph, where);
  const { sample, timestep, conditioning, classLabels } = inputs;
  if (sample === undefined) {
    throw new NibbleflowError('InvalidModel', `the denoiser has no input called ${INPUT_NAMES.sample.join(' or ')}`, {
      where,
      fix: `It has ${graph.inputs.map((input) => input.name).join(', ') || 'no inputs'}.`,
    });
  }
  const [output] = graph.outputs;
  if (output === undefined) throw new NibbleflowError('InvalidModel', 'the denoiser has no output', { where });
  const sampleDims = sampleDimsOf(sample, config, where);
  return {
    role,
    folder: role,
    modelPath,
    config,
    inputs: {
      sample: sample.name,
      timestep: timestep?.name ?? null,
      conditioning: conditioning?.name ?? null,
      classLabels: classLabels?.name ?? null,
    },
    output: output.name,
    sampleDims,
    sampleType: elementTypeOf(sample, FLOAT_TYPES, where),
    timestepType: timestep === undefined ? null : elementTypeOf(timestep, TIMESTEP_TYPES, where),
    timestepRows: timestep === undefined ? 'scalar' : timestepRowsOf(timestep, sample),
    conditioningType: conditioning === undefined ? null : elementTypeOf(conditioning, FLOAT_TYPES, where),
    classLabelType: classLabels === undefined ? null : elementTypeOf(classLabels, LABEL_TYPES, where),
    classes: classLabels === undefined ? null : classCount(config, where),
    predictsVariance: outputChannels(output, config) === 2 * sampleDims[0],
  };
}

function inputsByRole(graph: Graph, where: string): Partial<Record<InputRole, ValueInfo>> {
  const found: Partial<Record<InputRole, ValueInfo>> = {};
  const unknown: string[] = [];
  for (const input of graph.inputs) {
    const role = (Object.keys(INPUT_NAMES) as InputRole[]).find((name) =>
      (INPUT_NAMES[name] as readonly string[]).includes(input.name),
    );
    if (role === undefined || found[role] !== undefined) unknown.push(input.name);
    else found[role] = input;
  }
  if (unknown.length === 0) return found;
  throw new NibbleflowError('InvalidModel', `the denoiser has inputs that cannot be fed: ${unknown.join(', ')}`, {
    where,
    fix: 'Supported: a sample, a timestep, text conditioning (encoder_hidden_states) and class labels.',
  });
}

/** From the graph where it is fixed there, otherwise from config.json (in_channels, sample_size). */
function sampleDimsOf(sample: ValueInfo, config: JsonObject, where: string): readonly [number, number, number] {
  const shape = sample.shape ?? [null, null, null, null];
  if (shape.length !== 4) {
    throw new NibbleflowError('InvalidModel', `the denoiser's input "${sample.name}" has ${shape.length} axes, not 4`, {
      where,
      fix: 'Supported are denoisers of pictures: [batch, channels, height, width].',
    });
  }
  const size = config.sample_size;
  const [height, width] = Array.isArray(size) ? size : [size, size];
  const fallback = [numberOf(config, 'in_channels'), height, width];
  const dims = [1, 2, 3].map((axis) => {
    const dim = shape[axis];
    const value = typeof dim === 'number' && dim > 0 ? dim : fallback[axis - 1];
    if (typeof value === 'number' && Number.isInteger(value) && value > 0) return value;
    throw new NibbleflowError(
      'InvalidModel',
      `the ${['channels', 'height', 'width'][axis - 1]} of the denoiser's sample are not known`,
      {
        where,
        fix: 'Add in_channels and sample_size to the config.json beside the model.',
      },
    );
  });
  return [dims[0] ?? 0, dims[1] ?? 0, dims[2] ?? 0];
}

/** One entry serves all samples when the timestep's axis is another symbol than the batch. */
function timestepRowsOf(timestep: ValueInfo, sample: ValueInfo): Denoiser['timestepRows'] {
  if (timestep.shape === null) return 'batch';
  const [rows] = timestep.shape;
  if (rows === undefined) return 'scalar';
  if (rows === 1) return 'one';
  return typeof rows === 'string' && rows !== sample.shape?.[0] ? 'one-or-batch' : 'batch';
}

function classCount(config: JsonObject, where: string): number {
  const count =
    numberOf(config, 'num_embeds_ada_norm') ?? numberOf(config, 'num_classes') ?? numberOf(config, 'num_class_embeds');
  if (count !== undefined) return count;
  throw new NibbleflowError('InvalidModel', 'the number of classes of the denoiser is not known', {
    where,
    fix: 'Add num_embeds_ada_norm or num_classes to the config.json beside the model.',
  });
}

function outputChannels(output: ValueInfo, config: JsonObject): number | undefined {
  const dim = output.shape?.[1];
  return typeof dim === 'number' ? dim : numberOf(config, 'out_channels');
}
