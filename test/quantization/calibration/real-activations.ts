import type { Executor } from '../../../models/executor.js';
import { writeModel } from '../../../models/onnx/model-proto.js';
import { denoiserFeeds } from '../../../models/pipelines/denoiser-feeds.js';
import { asFloat32, elementCount, type Float32Tensor, type Tensor } from '../../../models/tensors/tensor.js';
import type { ActivationQuantizer } from '../../../quantization/activation-quantizers.js';
import { ActivationObservers } from '../../../quantization/calibration/activation-observers.js';
import { batchOf, type CalibrationSet } from '../../../quantization/calibration/calibration-set.js';
import { addObservation, observationsOf } from '../../../quantization/calibration/observations.js';
import { observationGraph } from '../../../quantization/calibration/observe-batch.js';
import { codeRange, roundHalfToEven } from '../../../quantization/formats/integer-grid.js';
import type { ActivationParameters } from '../../../quantization/quantized-parameters.js';
import { activationParameters } from '../../../quantization/rounding/activation-parameters.js';
import { type PreparedZoo, pipeline } from '../quantized-zoo.js';

/** Real tensors of the bundled UNet: activations of some trajectories to find ranges from, of others to measure errors on. */
export interface RealActivations {
  readonly set: CalibrationSet;
  /** By timestep: every value in `names`, of the trajectories that ranges are found from, and of the others. */
  readonly seen: ReadonlyMap<number, Record<string, Tensor>>;
  readonly unseen: ReadonlyMap<number, Record<string, Tensor>>;
}

/** Both guidance branches of every trajectory at every kept timestep; the first half of the trajectories is seen. */
export async function realActivations(
  executor: Executor,
  { graph }: PreparedZoo,
  set: CalibrationSet,
  names: readonly string[],
): Promise<RealActivations> {
  const runnable = await executor.open(writeModel(observationGraph(graph, names)));
  const half = (set.samples.dims[0] ?? 0) / 2;
  const run = async (step: number, first: number): Promise<Record<string, Tensor>> => {
    const trajectories = Array.from({ length: half }, (_, index) => first + index);
    const items = [0, 1].flatMap((branch) => trajectories.map((trajectory) => ({ trajectory, step, branch })));
    const batch = batchOf(set, items);
    const [timestep = 0] = batch.timesteps;
    const feeds = denoiserFeeds(pipeline.denoiser, { ...batch, timestep, classLabels: null });
    return { ...feeds, ...(await runnable.run(feeds)) };
  };
  const [seen, unseen] = [new Map<number, Record<string, Tensor>>(), new Map<number, Record<string, Tensor>>()];
  for (const [step, timestep] of set.timesteps.entries()) {
    seen.set(timestep, await run(step, 0));
    unseen.set(timestep, await run(step, half));
  }
  await runnable.release();
  return { set, seen, unseen };
}

/** The ranges of one quantizer, whatever its scheme, from the seen activations. */
export function seenRanges({ set, seen }: RealActivations, quantizer: ActivationQuantizer): ActivationParameters {
  const observers = new ActivationObservers();
  for (const one of observationsOf(quantizer)) {
    for (const [timestep, values] of seen) addObservation(observers, one, timestep, values[one.value] as Tensor);
  }
  return activationParameters(observers, quantizer, set.timesteps);
}

/** x̂ by the definition of a stored range, entry by entry. `row` of the tables. */
export function fakeQuantized(
  x: Float32Tensor,
  { scheme }: Pick<ActivationQuantizer, 'scheme'>,
  { scale, zeroPoint, spread }: ActivationParameters,
  row: number,
): Float32Array {
  const { min, max } = codeRange({ bits: scheme.bits, signed: scheme.symmetric });
  const axes = spread?.axes ?? [];
  const entries = elementCount(axes.map((axis) => x.dims[axis] ?? 1));
  const inner = axes.length === 0 ? x.data.length : elementCount(x.dims.slice((axes.at(-1) ?? 0) + 1));
  const columns = scale.data.length / (scale.dims[0] ?? 1);
  return x.data.map((value, at) => {
    const entry = Math.floor(at / inner) % entries;
    const column = spread?.groups?.data[row * entries + entry] ?? entry;
    const s = scale.data[row * columns + column] ?? 0;
    const z = zeroPoint.data[row * columns + column] ?? 0;
    const code = Math.max(min, Math.min(max, roundHalfToEven(Math.fround(value / s)) + z));
    return (code - z) * s;
  });
}

/** 10 log₁₀ (Σx² / Σ(x − x̂)²). */
export function sqnrDb(x: ArrayLike<number>, quantized: ArrayLike<number>): number {
  let [signal, noise] = [0, 0];
  for (let at = 0; at < x.length; at += 1) {
    signal += (x[at] ?? 0) ** 2;
    noise += ((x[at] ?? 0) - (quantized[at] ?? 0)) ** 2;
  }
  return 10 * Math.log10(signal / noise);
}

export function float32Of(values: Record<string, Tensor> | undefined, name: string): Float32Tensor {
  return asFloat32(values?.[name] as Tensor);
}
