import type { Executor } from '../../models/executor.js';
import type { Breathe } from '../../models/linalg/breathe.js';
import { foldConstants } from '../../models/onnx/fold-constants.js';
import { attribute, type Graph } from '../../models/onnx/graph.js';
import { writeModel } from '../../models/onnx/model-proto.js';
import { NodeEmitter } from '../../models/onnx/node-emitter.js';
import { removeDeadCode } from '../../models/onnx/remove-dead-code.js';
import { inferShapes, type Shapes } from '../../models/onnx/shape-inference.js';
import { denoiserFeeds } from '../../models/pipelines/denoiser-feeds.js';
import type { Denoiser } from '../../models/pipelines/pipeline.js';
import { permutation } from '../../models/tensors/random.js';
import { float32, type Tensor } from '../../models/tensors/tensor.js';
import { batchOf, branchCount, type CalibrationSet, trajectoryCount } from '../calibration/calibration-set.js';
import { floatLowering } from '../conversion/lower-to-float.js';
import type { QuantizationPlan } from '../layer-plan.js';
import {
  applySmoothing,
  SMOOTHING_GRID,
  type SmoothingSite,
  smoothingCandidates,
  smoothingCost,
  smoothingSites,
} from './smooth.js';

export interface SmoothDenoiserOptions {
  readonly executor: Executor;
  /** Transformed, with scalings prepared; smoothed in place. */
  readonly graph: Graph;
  readonly shapes: Shapes;
  readonly plan: QuantizationPlan;
  readonly denoiser: Denoiser;
  readonly calibration: CalibrationSet;
  readonly seed: number;
  /** Calls per run; divides CALLS. */
  readonly batchSize: number;
  /** Awaited between candidates. */
  readonly breathe: Breathe;
  readonly onBatch?: (done: number, total: number) => Promise<void>;
}

/** Calls per calibrated timestep. */
export const SMOOTHING_CALLS = 4;
/** Stream of the calibration seed that chooses trajectories. */
const CHOICE_STREAM = 21;

/**
 * Chooses and applies the smoothing of every site; says how many got any. Ranges are taken at run time while candidates are
 * compared, in the plan's groups of channels or over all of them, whatever the plan does later.
 */
export async function smoothDenoiser(options: SmoothDenoiserOptions): Promise<string> {
  const { graph, shapes, plan } = options;
  const sites = smoothingSites(graph, shapes, plan);
  const squares = await channelMeans(options, 0, (emitter) =>
    sites.map(({ site }) => [site, emitter.emit('Mul', [site.value, site.value])] as const),
  );
  const candidates = sites.map((site, index) => smoothingCandidates(graph, site, squares[index] as Float64Array));
  const errors = await channelMeans(options, 1, (emitter, own, within) =>
    sites.flatMap((site, index) =>
      (candidates[index] ?? []).map(
        (factors) => [site.site, candidateError(site, factors, { emitter, graph: own, shapes: within })] as const,
      ),
    ),
  );
  let smoothed = 0;
  for (const [index, site] of sites.entries()) {
    await options.breathe();
    const costs = (candidates[index] ?? []).map((factors, candidate) =>
      smoothingCost(graph, site, factors, {
        meanSquares: squares[index] as Float64Array,
        errors: errors[index * SMOOTHING_GRID.length + candidate] as Float64Array,
      }),
    );
    const best = costs.indexOf(Math.min(...costs));
    if (best <= 0) continue;
    applySmoothing(graph, site, (candidates[index] ?? [])[best] as Float64Array);
    smoothed += 1;
  }
  return `${smoothed} of ${sites.length} layer inputs smoothed`;
}

interface Emitting {
  readonly emitter: NodeEmitter;
  readonly graph: Graph;
  readonly shapes: Shapes;
}

/** (λ (Q(x/λ) − x/λ))², like x. */
function candidateError({ site, quantizer }: SmoothingSite, factors: Float64Array, at: Emitting): string {
  const { emitter, graph, shapes } = at;
  const dims = [factors.length, ...new Array<number>(site.rank - 1 - site.channelAxis).fill(1)];
  const factor = emitter.constant(float32(dims, factors), 'factors');
  const value = emitter.emit('Div', [site.value, factor], {}, 'smooth');
  const within = { ...shapes, dimsOf: (name: string) => shapes.dimsOf(name === value ? site.value : name) };
  const parameters = { timesteps: [], weights: new Map(), activations: new Map(), branches: new Map() };
  const context = { shapes: within, parameters, timestep: null, trainedLayers: new Set<string>(), trainRanges: false };
  const scheme = { ...quantizer.scheme, ranges: 'dynamic' as const };
  const quantized = floatLowering(graph, context, emitter).activation({ ...quantizer, value, scheme }, emitter);
  const error = emitter.emit('Mul', [emitter.emit('Sub', [quantized, value]), factor]);
  return emitter.emit('Mul', [error, error]);
}

/** Means per channel of values like their sites, over a draw of calibration inputs. */
async function channelMeans(
  options: SmoothDenoiserOptions,
  pass: number,
  emit: (emitter: NodeEmitter, graph: Graph, shapes: Shapes) => (readonly [SmoothingSite['site'], string])[],
): Promise<Float64Array[]> {
  const { calibration, executor } = options;
  const runs = SMOOTHING_CALLS / options.batchSize;
  const first = feedsAt(options, 0, 0);
  const dims = Object.fromEntries(Object.entries(first).map(([name, value]) => [name, value.dims]));
  const graph = options.graph.clone();
  foldConstants(graph, inferShapes(graph, dims));
  const shapes = inferShapes(graph, dims);
  const emitter = new NodeEmitter(graph, 'smooth');
  const outputs = emit(emitter, graph, shapes).map(([site, value]) => {
    const axes = emitter.int64s(
      Array.from({ length: site.rank }, (_, axis) => axis).filter((axis) => axis !== site.channelAxis),
    );
    return emitter.emit('ReduceMean', [value, axes], { keepdims: attribute.int(0) }, 'mean');
  });
  graph.outputs = outputs.map((name) => ({ name, type: 'float32', shape: null }));
  graph.inputs = graph.inputs.map((input) => ({ ...input, shape: dims[input.name] ?? input.shape }));
  graph.valueInfos.clear();
  removeDeadCode(graph);
  const runnable = await executor.open(writeModel(graph));
  const sums = outputs.map((): Float64Array => new Float64Array());
  const total = calibration.timesteps.length * runs;
  const known = new Set(runnable.inputNames);
  for (let run = 0; run < total; run += 1) {
    const feeds = Object.entries(feedsAt(options, Math.floor(run / runs), run % runs));
    const found = await runnable.run(Object.fromEntries(feeds.filter(([name]) => known.has(name))));
    for (const [index, name] of outputs.entries()) sums[index] = added(sums[index], found[name], total);
    await options.onBatch?.(pass * total + run + 1, 2 * total);
  }
  await runnable.release();
  return sums;
}

function added(sum: Float64Array | undefined, batch: Tensor | undefined, runs: number): Float64Array {
  if (batch === undefined) throw new RangeError('a mean was not computed');
  const values = Float64Array.from(batch.data as Float32Array, (value) => value / runs);
  return sum === undefined || sum.length === 0 ? values : values.map((value, at) => value + (sum[at] as number));
}

function feedsAt(
  { calibration, denoiser, seed, batchSize }: SmoothDenoiserOptions,
  step: number,
  run: number,
): Record<string, Tensor> {
  const order = permutation(seed, CHOICE_STREAM, trajectoryCount(calibration));
  const branches = branchCount(calibration);
  const items = Array.from({ length: batchSize }, (_, row) => {
    const call = run * batchSize + row;
    const drawn = Math.floor((step * SMOOTHING_CALLS + call) / branches);
    return { trajectory: order[drawn % order.length] ?? 0, step, branch: call % branches };
  });
  const batch = batchOf(calibration, items);
  return denoiserFeeds(denoiser, { ...batch, timestep: batch.timesteps[0] ?? 0, classLabels: null });
}
