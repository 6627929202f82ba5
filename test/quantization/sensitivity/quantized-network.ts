import type { Executor, Feeds, Runnable } from '../../../models/executor.js';
import type { Graph } from '../../../models/onnx/graph.js';
import { writeModel } from '../../../models/onnx/model-proto.js';
import { NodeEmitter } from '../../../models/onnx/node-emitter.js';
import { asFloat32, type Tensor } from '../../../models/tensors/tensor.js';
import { insertQuantizers } from '../../../quantization/conversion/insert-quantizers.js';
import { floatLowering } from '../../../quantization/conversion/lower-to-float.js';
import type { PlannedLayer, QuantizationPlan } from '../../../quantization/layer-plan.js';
import { roundParameters } from '../../../quantization/rounding/round-parameters.js';
import type { SensitivityOptions } from '../../../quantization/sensitivity/scan-sensitivity.js';
import { pipeline } from '../quantized-zoo.js';

/** Networks with some layers quantized, built without the scan. */

/** The plan with the other layers float. */
export function only(plan: QuantizationPlan, keep: (layer: PlannedLayer) => boolean): QuantizationPlan {
  const layers = plan.layers.map((layer) =>
    keep(layer) ? layer : { ...layer, inputs: [], skipped: 'not in this test' },
  );
  return { ...plan, layers };
}

/** The network with the quantizers of `plan`, built as finetuning builds it; `part` leaves weights or inputs float. */
export async function quantizedNetwork(
  options: SensitivityOptions,
  plan: QuantizationPlan,
  part: 'weights' | 'activations' | 'both',
): Promise<Graph> {
  const { graph, shapes, observers, calibration, denoiser } = options;
  const parameters = await roundParameters({ graph, plan, observers, timesteps: calibration.timesteps });
  const student = graph.clone();
  const emitter = new NodeEmitter(student, 'student');
  const context = {
    shapes,
    parameters,
    timestep: denoiser.inputs.timestep,
    trainedLayers: new Set<string>(),
    trainRanges: false,
  };
  const lowering = floatLowering(student, context, emitter);
  const float = (layer: PlannedLayer): string => layer.weight?.initializer ?? '';
  insertQuantizers(
    student,
    plan,
    {
      activation: part === 'weights' ? ({ value }) => value : lowering.activation,
      weight: part === 'activations' ? float : lowering.weight,
    },
    emitter,
  );
  return student;
}

/** The denoiser's output for each of the feeds. */
export async function outputs(executor: Executor, graph: Graph, feeds: readonly Feeds[]): Promise<Float32Array[]> {
  const runnable: Runnable = await executor.open(writeModel(graph));
  const found: Float32Array[] = [];
  for (const one of feeds) {
    const result = await runnable.run(one);
    found.push(asFloat32(result[pipeline.denoiser.output] as Tensor).data);
  }
  await runnable.release();
  return found;
}

/** Σ(y − ŷ)² / Σy² */
export function relativeError(expected: readonly Float32Array[], found: readonly Float32Array[]): number {
  let [error, energy] = [0, 0];
  for (const [batch, values] of expected.entries()) {
    for (const [at, value] of values.entries()) {
      error += (value - (found[batch]?.[at] ?? Number.NaN)) ** 2;
      energy += value ** 2;
    }
  }
  return error / energy;
}
