import type { Recipe } from '../contracts/recipe.js';
import type { ActivationDrift } from '../evaluation/report/report-data.js';
import { measureActivationDrift } from '../evaluation/sampling/collect-activation-dna.js';
import type { DenoiserPairs } from '../evaluation/sampling/denoiser-pairs.js';
import { type ComparedLayer, type LayerErrors, layerErrors } from '../evaluation/sampling/layer-errors.js';
import type { Graph } from '../models/onnx/graph.js';
import { writeModel } from '../models/onnx/model-proto.js';
import type { Pipeline } from '../models/pipelines/pipeline.js';
import { planDenoiser } from '../quantization/plan-denoiser.js';
import type { EngineExecutor } from './engine/engine-executor.js';
import type { StageContext } from './stage-frame.js';

/** Calls per timestep in which layers are compared: the outputs of all layers are in memory at once. */
const COMPARED_CALLS = 4;

export interface LayerComparison {
  readonly context: StageContext;
  readonly executor: EngineExecutor;
  readonly reference: Pipeline;
  /** The graph that computes the candidate's output. */
  readonly candidate: Graph;
  readonly recipe: Recipe;
  readonly pairs: DenoiserPairs;
}

/** Compares the layers of the float denoiser with those of a converted one, found by the names of their nodes. */
export async function compareLayers(options: LayerComparison): Promise<LayerErrors> {
  const { context, executor, reference, candidate } = options;
  const { graph, layers } = comparedLayers(options);
  await context.breathe();
  const open = (of: Graph, values: readonly string[]) => executor.open(writeModel(withOutputs(of, values)));
  const float = await open(
    graph,
    layers.map((layer) => layer.float),
  );
  const quantized = await open(
    candidate,
    layers.map((layer) => layer.candidate),
  );
  const result = await layerErrors({
    ...options,
    pipeline: reference,
    float,
    candidate: quantized,
    layers,
    rows: Math.max(1, Math.floor(COMPARED_CALLS / context.microBatchDivisor)),
    onProgress: async (done, total) => {
      context.progress({ done, total, unit: 'timesteps', note: 'layers compared' });
      await context.breathe();
    },
  });
  await float.release();
  await quantized.release();
  return result;
}

/**
 * Drift of the layers' histograms on all pairs; null when the networks share no layer, and on devices that do not count
 * (ScatterElements of whole numbers runs on the CPU alone).
 */
export async function compareActivations(options: LayerComparison): Promise<ActivationDrift | null> {
  const { context, executor, reference } = options;
  const { graph, layers } = comparedLayers(options);
  if (layers.length === 0 || executor.device !== 'cpu') return null;
  await context.breathe();
  return measureActivationDrift({
    ...options,
    pipeline: reference,
    float: graph,
    layers,
    rows: Math.max(1, Math.floor(COMPARED_CALLS / context.microBatchDivisor)),
    onProgress: async (done, total) => {
      context.progress({ done, total, unit: 'runs', note: 'activations counted' });
      await context.breathe();
    },
  });
}

function comparedLayers({ reference, candidate, recipe }: LayerComparison): { graph: Graph; layers: ComparedLayer[] } {
  const { graph, plan } = planDenoiser(reference, recipe);
  const layers = plan.layers.flatMap(({ name, node, output }): ComparedLayer[] => {
    const found = candidate.nodeByName(node)?.outputs[0];
    return found === undefined ? [] : [{ name, float: output, candidate: found }];
  });
  return { graph, layers };
}

/** The graph with these values as its only outputs. */
function withOutputs(graph: Graph, values: readonly string[]): Graph {
  const copy = graph.clone();
  copy.outputs = [...new Set(values)].map(
    (name) => graph.outputs.find((output) => output.name === name) ?? { name, type: 'float32', shape: null },
  );
  return copy;
}
