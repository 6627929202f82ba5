import type { Breathe } from '../../models/linalg/breathe.js';
import { matrixRow } from '../../models/linalg/matrix.js';
import type { Graph } from '../../models/onnx/graph.js';
import { tensorFromInitializer } from '../../models/onnx/tensor-from-initializer.js';
import { asFloat32, type Float32Tensor } from '../../models/tensors/tensor.js';
import { type ActivationQuantizer, activationQuantizers } from '../activation-quantizers.js';
import type { PlannedLayer, QuantizationPlan } from '../layer-plan.js';
import { tapsOf, weightMatrix } from '../rounding/weight-matrix.js';
import { arrangeChannels } from './arrange-channels.js';

/** Quantizers whose channels are split into groups with a range of their own, found at run time. */
export function arrangeableQuantizers(plan: QuantizationPlan): ActivationQuantizer[] {
  return activationQuantizers(plan).filter(({ scheme }) => scheme.ranges === 'dynamic' && scheme.groupSize !== null);
}

export interface ArrangedPlan {
  readonly plan: QuantizationPlan;
  /** Quantizers with another order than the given one. */
  readonly arranged: number;
  /** Mean over them of the cost after / before (arrange-channels.ts). */
  readonly meanCost: number;
}

export interface ArrangePlanOptions {
  readonly plan: QuantizationPlan;
  /** The transformed float denoiser. */
  readonly graph: Graph;
  readonly quantizers: readonly ActivationQuantizer[];
  /** [positions, C] by value (sample-rows.ts); a value has one channel axis. */
  readonly rows: ReadonlyMap<string, Float32Tensor>;
  readonly onQuantizer?: (done: number, total: number) => Promise<void>;
  /** Awaited in the middle of a quantizer, too. */
  readonly breathe?: Breathe;
}

/** The plan with an order of channels for every quantizer in groups, such that channels that belong together share ranges. */
export async function arrangePlan(options: ArrangePlanOptions): Promise<ArrangedPlan> {
  const { plan, quantizers, rows } = options;
  const orders = new Map<string, readonly number[]>();
  let costs = 0;
  for (const [index, quantizer] of quantizers.entries()) {
    const values = rows.get(quantizer.value);
    if (values === undefined) throw new RangeError(`no rows of ${quantizer.value}`);
    const channels = values.dims[1] ?? 1;
    const { order, cost } = await arrangeChannels(
      {
        values: values.data,
        channels,
        weights: channelWeights(options, quantizer, channels),
        groupSize: quantizer.scheme.groupSize ?? channels,
        symmetric: quantizer.scheme.symmetric,
      },
      options.breathe,
    );
    if (order.some((channel, at) => channel !== at)) {
      costs += cost.given === 0 ? 1 : cost.arranged / cost.given;
      for (const { node, index: input } of quantizer.readers) orders.set(`${node} ${input}`, order);
    }
    await options.onQuantizer?.(index + 1, quantizers.length);
  }
  const arranged = new Set(orders.values()).size;
  const layers = plan.layers.map((layer) => withOrders(layer, orders));
  return { plan: { ...plan, layers }, arranged, meanCost: arranged === 0 ? 1 : costs / arranged };
}

function withOrders(layer: PlannedLayer, orders: ReadonlyMap<string, readonly number[]>): PlannedLayer {
  const inputs = layer.inputs.map((input) => {
    const channelOrder = orders.get(`${layer.node} ${input.index}`);
    return channelOrder === undefined ? input : { ...input, scheme: { ...input.scheme, channelOrder } };
  });
  return { ...layer, inputs };
}

/** Σ of squared weights that read each channel, over the layers behind the quantizer. */
function channelWeights(
  { plan, graph }: ArrangePlanOptions,
  { readers }: ActivationQuantizer,
  channels: number,
): Float64Array {
  const sums = new Float64Array(channels);
  for (const { layer } of readers) {
    const planned = plan.layers.find(({ name }) => name === layer)?.weight ?? null;
    const initializer = planned === null ? undefined : graph.initializers.get(planned.initializer);
    if (planned === null || initializer === undefined) continue;
    const matrix = weightMatrix(asFloat32(tensorFromInitializer(initializer)), planned);
    const taps = tapsOf(planned);
    if (matrix.cols !== channels * taps) continue;
    for (let row = 0; row < matrix.rows; row += 1) {
      for (const [at, value] of matrixRow(matrix, row).entries()) {
        sums[at % channels] = (sums[at % channels] as number) + value * value;
      }
    }
  }
  return sums.some((sum) => sum > 0) ? sums : sums.fill(1);
}
