import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Graph } from '../../../models/onnx/graph.js';
import { readModel } from '../../../models/onnx/model-proto.js';

/** Every model of the zoo and of the golden set. */

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));

export const ZOO_MODELS = [
  'models/zoo/emoji-t2i/text_encoder/model.onnx',
  'models/zoo/emoji-t2i/unet/model.onnx',
  'models/zoo/emoji-t2i/vae_decoder/model.onnx',
  'models/zoo/cifar10-resnet/model.onnx',
];

export const GOLDEN_MODELS = ['test/golden/gradients', 'test/golden/pipelines'].flatMap((folder) =>
  readdirSync(`${ROOT}${folder}`, { recursive: true, encoding: 'utf8' })
    .map((path) => path.replaceAll('\\', '/'))
    .filter((path) => path.endsWith('.onnx'))
    .sort()
    .map((path) => `${folder}/${path}`),
);

export function modelBytes(path: string): Uint8Array {
  return readFileSync(`${ROOT}${path}`);
}

export function openModel(path: string): Graph {
  const folder = `${ROOT}${path}`.replace(/[^/]*$/, '');
  return readModel(modelBytes(path), {
    where: path,
    external: (location, offset, length) => readFileSync(`${folder}${location}`).subarray(offset, offset + length),
  });
}

/** Small concrete dims for every input: symbols get sizes by their meaning. */
export function smallDims(graph: Graph, sizes: Readonly<Record<string, number>> = {}): Record<string, number[]> {
  const known: Record<string, number> = {
    batch: 2,
    batch_size: 2,
    sequence_length: 16,
    height: 16,
    width: 8,
    height_latent: 8,
    width_latent: 4,
    steps: 1,
    ...sizes,
  };
  return Object.fromEntries(
    graph.inputs.map((input) => [
      input.name,
      (input.shape ?? []).map((dim) => {
        const size = typeof dim === 'number' ? dim : known[dim ?? ''];
        if (size === undefined) throw new Error(`no size for ${dim} of ${input.name}`);
        return size;
      }),
    ]),
  );
}
