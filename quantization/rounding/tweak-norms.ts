import type { Breathe } from '../../models/linalg/breathe.js';
import { type Matrix, multiplyTransposed, transpose } from '../../models/linalg/matrix.js';
import type { Graph } from '../../models/onnx/graph.js';
import type { Shapes } from '../../models/onnx/shape-inference.js';
import { type Float32Tensor, float32 } from '../../models/tensors/tensor.js';
import { activationQuantizers } from '../activation-quantizers.js';
import type { LayerStatistics } from '../calibration/layer-statistics.js';
import type { PlannedWeight, QuantizationPlan } from '../layer-plan.js';
import type { LowRankBranch, QuantizedParameters } from '../quantized-parameters.js';
import { channelAffine } from '../transforms/channel-affine.js';
import { inputSites } from '../transforms/input-sites.js';
import { normTweak } from './norm-tweak.js';
import { dequantizeCodes, roundToCodes } from './round-nearest.js';
import { type WeightLayout, weightMatrix } from './weight-matrix.js';

export interface TweakNormsOptions {
  readonly graph: Graph;
  readonly shapes: Shapes;
  readonly plan: QuantizationPlan;
  readonly parameters: QuantizedParameters;
  readonly statistics: LayerStatistics;
  readonly breathe?: Breathe;
}

/** Factors beyond these say that statistics are too thin. */
const FACTORS = { least: 0.5, largest: 2 } as const;

/**
 * Tweaks every norm or scaling whose output only quantized layers read (norm-tweak.ts): the changed γ and β become part of the
 * parameters, under the names of their initializers. Side branches count as parts of the quantized weight.
 */
export async function tweakNorms(options: TweakNormsOptions): Promise<QuantizedParameters> {
  const { graph, shapes, plan, parameters, statistics, breathe } = options;
  const norms = new Map<string, Float32Tensor>(parameters.norms ?? []);
  const quantizers = new Map(activationQuantizers(plan).map(({ value, id }) => [value, id]));
  const planned = new Map(plan.layers.map((layer) => [layer.node, layer]));
  for (const site of inputSites(graph, shapes)) {
    const inputs = statistics.inputs.get(quantizers.get(site.value) ?? '');
    const affine = channelAffine(graph, site.value, site.channelAxis, site.rank);
    if (inputs === undefined || affine === undefined || !site.isOwn) continue;
    const layers = site.layers.map(({ node }) => {
      const layer = planned.get(node.name);
      return layer?.weight == null ? null : bothWeights(layer.weight, layer.name, parameters);
    });
    const known = layers.filter((layer) => layer !== null);
    const names = affine.names.filter((name) => name !== null);
    const isShared = names.some((name) => graph.consumersOf(name).length !== 1 || !graph.initializers.has(name));
    if (known.length !== layers.length || isShared) continue;
    const found = await normTweak({ inputs, layers: known }, breathe);
    const factors = found.map((factor) => Math.min(FACTORS.largest, Math.max(FACTORS.least, factor)));
    for (const [index, name] of affine.names.entries()) {
      const values = index === 0 ? affine.gamma : affine.beta;
      if (name === null || values === null) continue;
      const dims = graph.initializers.get(name)?.dims ?? [values.length];
      norms.set(
        name,
        float32(
          dims,
          values.map((value, channel) => value * (factors[channel] as number)),
        ),
      );
    }
  }
  return { ...parameters, norms };
}

function bothWeights(
  weight: PlannedWeight,
  name: string,
  { weights, branches }: QuantizedParameters,
): { float: Matrix; quantized: Matrix } | null {
  const held = weights.get(name);
  if (held === undefined) return null;
  const rounded = dequantizeCodes(roundToCodes(held.weight, held.scales, weight), weight.dims, held.scales, weight);
  const [float, quantized] = [weightMatrix(held.weight, weight), weightMatrix(rounded, weight)];
  const branch = branches.get(name);
  if (branch === undefined) return { float, quantized };
  const side = branchMatrix(branch, weight);
  const sum = (matrix: Matrix): Matrix => ({
    ...matrix,
    data: matrix.data.map((value, at) => value + (side.data[at] as number)),
  });
  return { float: sum(float), quantized: sum(quantized) };
}

/** up · down as [Co, taps · Ci]. */
function branchMatrix({ down, up }: LowRankBranch, weight: WeightLayout): Matrix {
  const isConv = down.dims.length > 2;
  const rank = (isConv ? down.dims[0] : down.dims[1]) ?? 0;
  const layout = { dims: down.dims, outputAxis: isConv ? 0 : 1, inputAxis: isConv ? 1 : 0 };
  const outputs = weight.dims[weight.outputAxis] ?? 0;
  const stored = { rows: isConv ? outputs : rank, cols: isConv ? rank : outputs, data: Float64Array.from(up.data) };
  const raising = isConv ? stored : transpose(stored);
  return multiplyTransposed(raising, transpose(weightMatrix(down, layout)));
}
