import { NibbleflowError } from '../../contracts/errors.js';
import type { Runnable } from '../executor.js';
import { float32FromFloat16 } from '../tensors/float16.js';
import { asFloat32, concatRows, type Float32Tensor, type Tensor, tensor } from '../tensors/tensor.js';
import type { Pipeline, TextEncoder } from './pipeline.js';
import { createTokenizer, type PromptTokenizer } from './tokenize.js';

export interface EncodePromptsOptions {
  /** Prompts per run of the text encoder. Default 32. */
  readonly batchSize?: number;
  /** Reused when given; otherwise read from the pipeline. */
  readonly tokenizer?: PromptTokenizer;
}

/**
 * The text encoder's hidden states of prompts.
 * @param textEncoder the opened model of `pipeline.textEncoder`
 * @returns float32 [prompts, tokens, width]
 * @throws NibbleflowError InvalidModel when the pipeline reads no text
 */
export async function encodePrompts(
  pipeline: Pipeline,
  textEncoder: Runnable,
  prompts: readonly string[],
  options: EncodePromptsOptions = {},
): Promise<Float32Tensor> {
  const component = pipeline.textEncoder;
  if (component === null) {
    throw new NibbleflowError('InvalidModel', 'the pipeline has no text encoder, so it takes no prompts', {
      where: pipeline.name,
    });
  }
  const tokenizer = options.tokenizer ?? createTokenizer(pipeline);
  const batchSize = options.batchSize ?? 32;
  const parts: Float32Tensor[] = [];
  for (let start = 0; start < prompts.length; start += batchSize) {
    const feeds = promptFeeds(component, tokenizer, prompts.slice(start, start + batchSize));
    const outputs = await textEncoder.run(feeds, [component.output]);
    parts.push(floatOutput(outputs, component.output));
  }
  return concatRows(parts);
}

/** Ids, and the mask where the encoder reads one, of a batch of prompts: [prompts, maxLength]. */
export function promptFeeds(
  component: Pick<TextEncoder, 'inputs' | 'idsType'>,
  tokenizer: PromptTokenizer,
  prompts: readonly string[],
): Record<string, Tensor> {
  const encoded = prompts.map((prompt) => tokenizer.encodePadded(prompt));
  const dims = [prompts.length, tokenizer.maxLength];
  const ids = encoded.flatMap((row) => row.ids);
  const feeds: Record<string, Tensor> = { [component.inputs.ids]: integers(component.idsType, dims, ids) };
  if (component.inputs.attentionMask !== null) {
    const mask = encoded.flatMap((row) => row.ids.map((_, position) => (position < row.length ? 1 : 0)));
    feeds[component.inputs.attentionMask] = integers(component.idsType, dims, mask);
  }
  return feeds;
}

function integers(type: 'int64' | 'int32', dims: readonly number[], values: readonly number[]): Tensor {
  return type === 'int64'
    ? tensor('int64', dims, BigInt64Array.from(values, BigInt))
    : tensor('int32', dims, Int32Array.from(values));
}

/** An output as float32; float16 is widened. @throws RangeError when the run did not give it */
export function floatOutput(outputs: Readonly<Record<string, Tensor>>, name: string): Float32Tensor {
  const value = outputs[name];
  if (value === undefined) throw new RangeError(`the model gave no output ${name}`);
  return value.type === 'float16' ? float32FromFloat16(value as Tensor<'float16'>) : asFloat32(value);
}
