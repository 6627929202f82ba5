import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { unsupportedOperators } from '../../../models/autodiff/build-backward.js';
import { makeTrainable } from '../../../models/autodiff/trainable-inputs.js';
import { readModel } from '../../../models/onnx/model-proto.js';
import { gaussianTensor } from '../../../models/tensors/random.js';
import { float32, int64, type Tensor } from '../../../models/tensors/tensor.js';
import { appendMeanSquare, differentiate, openGraph } from './train-graph.js';

const UNET = join(import.meta.dirname, '../../../models/zoo/emoji-t2i/unet/model.onnx');
const DIMS = { sample: [2, 12, 16, 16], timestep: [2], encoder_hidden_states: [2, 16, 64] };

/**
 * Each parameter moves along its own gradient so that the loss changes by about 2 · LOSS_CHANGE. Against that change the
 * rounding of a float32 forward pass (about 1e-6 relative) is 1e-4; after extrapolation the curvature left is of the same
 * order. A wrong rule is off by far more.
 */
const LOSS_CHANGE = 4e-3;
const RELATIVE_TOLERANCE = 1e-3;

describe('the zoo UNet', () => {
  it('has the directional derivatives that central differences see', async () => {
    const graph = readModel(readFileSync(UNET));
    const output = graph.outputs[0]?.name ?? '';
    const chosen = chosenWeights(graph.nodes, graph.initializers);
    const feeds = new Map<string, Tensor>([
      ...makeTrainable(graph, chosen),
      ['sample', gaussianTensor(1, 1, DIMS.sample)],
      ['encoder_hidden_states', gaussianTensor(1, 2, DIMS.encoder_hidden_states)],
      ['timestep', int64([2], [123, 789])],
    ]);
    appendMeanSquare(graph, output);
    const wrt = [...chosen, 'sample', 'encoder_hidden_states'];
    expect(unsupportedOperators(graph, 'loss', wrt)).toEqual([]);
    const gradients = differentiate(graph, wrt, DIMS);
    const session = await openGraph(graph);
    const results = await session.run(feeds);
    const base = results.get('loss')?.data[0] as number;
    const lossAt = async (name: string, direction: Float32Array, step: number) => {
      const start = feeds.get(name);
      if (start === undefined) throw new Error(`no feed for ${name}`);
      const values = (start.data as Float32Array).map((value, at) => value + step * (direction[at] ?? 0));
      const at = await session.run(new Map(feeds).set(name, float32(start.dims, values)));
      return at.get('loss')?.data[0] as number;
    };
    for (const name of wrt) {
      const gradient = results.get(gradients.get(name) ?? '')?.data as Float32Array;
      const norm = Math.sqrt(gradient.reduce((sum, value) => sum + value * value, 0));
      expect(norm, name).toBeGreaterThan(0);
      const direction = gradient.map((value) => value / norm);
      const step = (LOSS_CHANGE * base) / norm;
      const difference = async (h: number) =>
        ((await lossAt(name, direction, h)) - (await lossAt(name, direction, -h))) / (2 * h);
      const numeric = (4 * (await difference(step)) - (await difference(2 * step))) / 3;
      expect(Math.abs(numeric / norm - 1), `${name}: ${numeric} against ${norm}`).toBeLessThan(RELATIVE_TOLERANCE);
    }
    await session.release();
  });
});

type Nodes = ReturnType<typeof readModel>['nodes'];
type Initializers = ReturnType<typeof readModel>['initializers'];

/** One weight of each kind of layer, by the names diffusers gives them. */
function chosenWeights(nodes: Nodes, initializers: Initializers): string[] {
  const kinds = [
    'time_embedding/linear_1',
    'conv_in',
    'down_blocks.0/resnets.0/conv1',
    'downsamplers.0/conv',
    'attn1/to_q',
    'attn2/to_k',
    'ff/net.0/proj',
    'upsamplers.0/conv',
    'conv_shortcut',
    'conv_out',
  ];
  return kinds.map((kind) => {
    const layer = nodes.find(
      (candidate) => candidate.name.includes(kind) && initializers.has(candidate.inputs[1] ?? ''),
    );
    if (layer === undefined) throw new Error(`the UNet has no layer ${kind}`);
    return layer.inputs[1] ?? '';
  });
}
