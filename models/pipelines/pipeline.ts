import type { DataTypeName } from '../onnx/graph.js';
import type { PipelineFiles } from './pipeline-files.js';
import type { JsonObject } from './pipeline-json.js';

/** A diffusion pipeline as its folder describes it. Built by read-pipeline.ts; nothing here has been run. */
export interface Pipeline {
  readonly name: string;
  /** The diffusers class of model_index.json, e.g. StableDiffusionPipeline. */
  readonly className: string;
  readonly files: PipelineFiles;
  /** scheduler/scheduler_config.json, for createSampler. */
  readonly schedulerConfig: unknown;
  readonly trainTimesteps: number;
  readonly denoiser: Denoiser;
  /** null for unconditional and class-conditional models. */
  readonly textEncoder: TextEncoder | null;
  readonly tokenizer: TokenizerSource | null;
  /** null when the denoiser works on pixels. */
  readonly vaeDecoder: VaeDecoder | null;
}

export interface Component {
  /** Folder inside the pipeline, e.g. `unet`. */
  readonly folder: string;
  /** Path of the ONNX file inside the pipeline. */
  readonly modelPath: string;
  /** The folder's config.json, {} when there is none. */
  readonly config: JsonObject;
}

export interface Denoiser extends Component {
  readonly role: 'unet' | 'transformer';
  readonly inputs: {
    readonly sample: string;
    readonly timestep: string | null;
    /** Text conditioning [B, S, D]. */
    readonly conditioning: string | null;
    readonly classLabels: string | null;
  };
  /** The predicted noise, velocity or sample. */
  readonly output: string;
  /** Channels, height and width of x_t. */
  readonly sampleDims: readonly [channels: number, height: number, width: number];
  readonly sampleType: 'float32' | 'float16';
  readonly timestepType: TimestepType | null;
  /** How many timesteps a run takes: no axis, exactly one, one or one per sample, or exactly one per sample. */
  readonly timestepRows: 'scalar' | 'one' | 'one-or-batch' | 'batch';
  readonly conditioningType: 'float32' | 'float16' | null;
  readonly classLabelType: 'int64' | 'int32' | null;
  /** Number of classes, which is also the label of "no class"; null when the model has none. */
  readonly classes: number | null;
  /** The output holds twice the channels: the prediction, then a variance that samplers here do not use. */
  readonly predictsVariance: boolean;
}

export type TimestepType = Extract<DataTypeName, 'int64' | 'int32' | 'float32' | 'float16' | 'float64'>;

export interface TextEncoder extends Component {
  readonly inputs: { readonly ids: string; readonly attentionMask: string | null };
  readonly idsType: 'int64' | 'int32';
  /** The hidden states [B, S, D]. */
  readonly output: string;
  readonly outputType: 'float32' | 'float16';
}

export interface TokenizerSource {
  readonly folder: string;
  /** Tokens of a prompt, special tokens and padding included. */
  readonly maxLength: number;
}

export interface VaeDecoder extends Component {
  readonly input: string;
  readonly inputType: 'float32' | 'float16';
  readonly output: string;
  /** Latents are divided by it, then shifted, before they are decoded. */
  readonly scalingFactor: number;
  readonly shiftFactor: number;
}
