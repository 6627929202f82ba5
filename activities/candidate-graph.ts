import type { Compute } from '../contracts/stages.js';
import type { Graph } from '../models/onnx/graph.js';
import { inferShapes } from '../models/onnx/shape-inference.js';
import { readComponentGraph } from '../models/pipelines/component-graph.js';
import { denoiserDims } from '../models/pipelines/denoiser-dims.js';
import type { Pipeline } from '../models/pipelines/pipeline.js';
import { floatFromQdq } from '../quantization/conversion/float-from-qdq.js';

/** Devices whose provider runs 4-bit QuantizeLinear and DequantizeLinear itself. */
const QDQ_DEVICES: ReadonlySet<Compute['device']> = new Set(['cpu', 'cuda']);

/** Any batch: only ranks and channels are read. */
const BATCH = 2;

/** A shipped denoiser as a device can run it: the file itself, or its arithmetic in float operators. */
export function candidateGraph(
  candidate: Pipeline,
  device: Compute['device'],
): { graph: Graph; arithmetic: 'shipped' | 'shipped-in-float' } {
  const graph = readComponentGraph(candidate.files, candidate.denoiser);
  if (QDQ_DEVICES.has(device)) return { graph, arithmetic: 'shipped' };
  const shapes = inferShapes(graph, denoiserDims(candidate, graph, BATCH));
  return { graph: floatFromQdq(graph, shapes), arithmetic: 'shipped-in-float' };
}
