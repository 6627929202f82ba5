import { NibbleflowError } from '../../contracts/errors.js';
import type { Graph } from '../onnx/graph.js';
import type { Pipeline } from './pipeline.js';
import { numberOf } from './pipeline-json.js';

/** Config keys that say the width of the text conditioning, where the graph leaves it open. */
const WIDTH_KEYS = ['cross_attention_dim', 'joint_attention_dim', 'caption_channels'] as const;

/**
 * Dims of every input of the denoiser for `batch` samples and, where the model allows it, one timestep for all of them.
 * @param graph the denoiser's graph, as exported or transformed
 * @throws NibbleflowError InvalidModel when the dims of an input are not known
 */
export function denoiserDims(pipeline: Pipeline, graph: Graph, batch: number): Record<string, number[]> {
  const { inputs, sampleDims, timestepRows } = pipeline.denoiser;
  const dims: Record<string, number[]> = { [inputs.sample]: [batch, ...sampleDims] };
  if (inputs.timestep !== null) {
    dims[inputs.timestep] = timestepRows === 'scalar' ? [] : [timestepRows === 'batch' ? batch : 1];
  }
  if (inputs.conditioning !== null) dims[inputs.conditioning] = [batch, ...conditioningDims(pipeline, graph)];
  if (inputs.classLabels !== null) dims[inputs.classLabels] = [batch];
  return dims;
}

function conditioningDims({ denoiser, textEncoder, tokenizer, name }: Pipeline, graph: Graph): [number, number] {
  const shape = graph.inputs.find((input) => input.name === denoiser.inputs.conditioning)?.shape ?? [];
  const [, tokens, width] = shape;
  const configured = WIDTH_KEYS.map((key) => numberOf(denoiser.config, key)).find((value) => value !== undefined);
  const foundTokens = typeof tokens === 'number' ? tokens : tokenizer?.maxLength;
  const foundWidth =
    typeof width === 'number' ? width : (configured ?? numberOf(textEncoder?.config ?? {}, 'hidden_size'));
  if (foundTokens !== undefined && foundWidth !== undefined) return [foundTokens, foundWidth];
  throw new NibbleflowError('InvalidModel', 'the size of the text conditioning is not known', {
    where: `${name}/${denoiser.modelPath}`,
    fix: 'Add cross_attention_dim to the config.json of the denoiser.',
  });
}
