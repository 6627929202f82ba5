import { NibbleflowError } from '../../contracts/errors.js';
import type { Executor, Feeds, Resident, Runnable } from '../../models/executor.js';
import type { Graph } from '../../models/onnx/graph.js';
import { writeModel } from '../../models/onnx/model-proto.js';
import type { Shapes } from '../../models/onnx/shape-inference.js';
import type { Denoiser } from '../../models/pipelines/pipeline.js';
import { type Tensor, tensor } from '../../models/tensors/tensor.js';
import type { ActivationObservers } from '../calibration/activation-observers.js';
import { branchCount, type CalibrationSet } from '../calibration/calibration-set.js';
import type { PlannedLayer, QuantizationPlan } from '../layer-plan.js';
import type { QuantizedParameters } from '../quantized-parameters.js';
import { dequantizeCodes, roundToCodes } from '../rounding/round-nearest.js';
import { roundParameters } from '../rounding/round-parameters.js';
import { buildLayerErrorGraph } from './layer-error-graph.js';
import { type NetworkError, NetworkReference } from './network-error.js';
import { bitsInUse, planAtBits, scanMeasurements } from './plan-at-bits.js';
import { buildScanGraph, type ScanGraph } from './scan-graph.js';
import type { Sensitivity } from './sensitivity.js';
import { type SensitivityBatch, sensitivityBatches, sensitivityItems } from './sensitivity-items.js';

export interface SensitivityOptions {
  /** The transformed float denoiser with the shapes it was planned for. */
  readonly graph: Graph;
  readonly shapes: Shapes;
  readonly plan: QuantizationPlan;
  readonly observers: ActivationObservers;
  readonly calibration: CalibrationSet;
  readonly denoiser: Denoiser;
  readonly executor: Executor;
  /** Bits to scan, beside those that the plan uses; empty: only the layers' own errors are measured. */
  readonly bits: readonly number[];
  /** Calls of the denoiser behind every number. */
  readonly items: number;
  readonly guidance: number;
  readonly seed: number;
  /** Calls per run. */
  readonly batchSize: number;
  /** What an earlier attempt has measured. */
  readonly resume?: ScanState;
  /** Called after every measurement, and with the same numbers while parameters are prepared. */
  readonly onProgress?: (progress: ScanProgress) => Promise<void>;
}

export interface ScanProgress {
  readonly done: number;
  readonly total: number;
  readonly note: string;
  /** Whether a session's work is done: worth a checkpoint whatever the time. */
  readonly isWaveEnd: boolean;
  /** What has been measured; makes it on demand. */
  readonly state: () => ScanState;
}

/** Measurements by name (`<bits>/<layer>/weights`, `<bits>/<layer>/activations`, `<bits or plan>/<layer>/own`); JSON. */
export interface ScanState {
  readonly network: Readonly<Record<string, NetworkError>>;
  readonly own: Readonly<Record<string, number>>;
}

/**
 * Measures every quantized layer alone: the network's error with its weight or its inputs quantized at several bits, all other
 * layers float, and its own output error on float inputs. One wave a number of bits; a wave has one session for the network
 * (scan-graph.ts) and one for the layers' own errors (layer-error-graph.ts). Ranges and scales are those of round-to-nearest.
 * Same arguments, same result, however often it is resumed.
 */
export async function scanSensitivity(options: SensitivityOptions): Promise<Sensitivity> {
  return new SensitivityScan(options).run();
}

class SensitivityScan {
  private readonly network = new Map<string, NetworkError>();
  private readonly own = new Map<string, number>();
  private readonly layers: readonly PlannedLayer[];
  private readonly waves: readonly number[];
  private readonly batches: readonly SensitivityBatch[];
  /** Float weights by layer, in the executor's process. */
  private readonly floatWeights = new Map<string, Resident>();

  constructor(private readonly options: SensitivityOptions) {
    const { plan, calibration, denoiser, bits, items, seed, resume, batchSize } = options;
    this.layers = plan.layers.filter(({ skipped, inputs }) => skipped === null && inputs.length > 0);
    this.waves = bits.length === 0 ? [] : bitsInUse(plan, bits);
    this.batches = sensitivityBatches(calibration, sensitivityItems(calibration, items, seed), denoiser, batchSize);
    for (const [key, value] of Object.entries(resume?.network ?? {})) this.network.set(key, value);
    for (const [key, value] of Object.entries(resume?.own ?? {})) this.own.set(key, value);
  }

  async run(): Promise<Sensitivity> {
    const { plan, executor } = this.options;
    if (this.layers.length > 0) await this.measureOwn('plan', plan);
    for (const bits of this.waves) await this.wave(bits);
    await executor.free(this.floatWeights.values());
    return this.result();
  }

  private async wave(bits: number): Promise<void> {
    const plan = planAtBits(this.options.plan, bits);
    const missing = this.layers.filter((layer) =>
      this.kindsOf(layer).some((kind) => !this.network.has(`${bits}/${layer.name}/${kind}`)),
    );
    const parameters = await this.measureOwn(String(bits), plan);
    if (missing.length === 0) return;
    const held = parameters ?? (await this.parametersOf(plan));
    const scan = buildScanGraph({
      graph: this.options.graph,
      shapes: this.options.shapes,
      plan,
      parameters: held,
      timestep: this.options.denoiser.inputs.timestep,
      select: this.options.executor.device === 'cpu' ? 'branch' : 'both',
    });
    const runnable = await this.options.executor.open(writeModel(scan.graph));
    const base = await this.baseFeeds(scan, held, runnable);
    const reference = await NetworkReference.record(runnable, this.errorContext(), this.batches, base);
    for (const layer of missing) {
      for (const kind of this.kindsOf(layer)) {
        const key = `${bits}/${layer.name}/${kind}`;
        if (this.network.has(key)) continue;
        const change = kind === 'weights' ? weightFeed(scan, plan, held, layer.name) : switchFeeds(scan, layer.name);
        this.network.set(key, await reference.errorOf(runnable, { ...base, ...change }));
        await this.report(`${bits} bits: ${layer.name}`);
      }
    }
    await runnable.release();
    await this.report(`${bits} bits done`, true);
  }

  private kindsOf({ weight }: PlannedLayer): readonly ('weights' | 'activations')[] {
    return weight === null ? ['activations'] : ['weights', 'activations'];
  }

  /** Own errors of every layer under a plan; returns the parameters when they had to be made. */
  private async measureOwn(label: string, plan: QuantizationPlan): Promise<QuantizedParameters | undefined> {
    const key = (layer: string): string => `${label}/${layer}/own`;
    if (this.layers.every(({ name }) => this.own.has(key(name)))) return undefined;
    const parameters = await this.parametersOf(plan);
    const { graph, shapes, executor, denoiser } = this.options;
    const built = buildLayerErrorGraph({ graph, shapes, plan, parameters, timestep: denoiser.inputs.timestep });
    const runnable = await executor.open(writeModel(built.graph));
    const sums = new Map<string, number>();
    for (const { feeds } of this.batches) {
      const taken = Object.entries(feeds).filter(([name]) => runnable.inputNames.includes(name));
      const found = await runnable.run(Object.fromEntries(taken));
      for (const [name, value] of Object.entries(found)) sums.set(name, (sums.get(name) ?? 0) + Number(value.data[0]));
    }
    await runnable.release();
    for (const [layer, { error, energy }] of built.outputs) {
      this.own.set(key(layer), ownError(layer, sums.get(error) ?? 0, sums.get(energy) ?? 0));
    }
    await this.report(`the layers' own errors, ${label === 'plan' ? 'as planned' : `${label} bits`}`, true);
    return parameters;
  }

  private async parametersOf(plan: QuantizationPlan): Promise<QuantizedParameters> {
    const { graph, observers, calibration } = this.options;
    return roundParameters({
      graph,
      plan,
      observers,
      timesteps: calibration.timesteps,
      onItem: async (done, total) => this.report(`rounding ${done} of ${total}`),
    });
  }

  /** Every switch off and every weight float. */
  private async baseFeeds(scan: ScanGraph, parameters: QuantizedParameters, runnable: Runnable): Promise<Feeds> {
    const feeds: Record<string, Tensor | Resident> = {};
    for (const names of scan.switches.values()) for (const name of names) feeds[name] = switchTensor(false);
    for (const [layer, name] of scan.weights) {
      const found = parameters.weights.get(layer);
      if (found === undefined) continue;
      const known = this.floatWeights.get(layer) ?? (await this.options.executor.upload(found.weight));
      this.floatWeights.set(layer, known);
      feeds[name] = known;
    }
    return Object.fromEntries(Object.entries(feeds).filter(([name]) => runnable.inputNames.includes(name)));
  }

  private errorContext() {
    const { calibration, denoiser, guidance } = this.options;
    return { denoiser, branches: branchCount(calibration), guidance, stepWeights: calibration.stepWeights };
  }

  private async report(note: string, isWaveEnd = false): Promise<void> {
    const ownWaves = new Set([...this.own.keys()].map((key) => key.split('/')[0])).size;
    await this.options.onProgress?.({
      done: this.network.size + ownWaves,
      total: Math.max(1, scanMeasurements(this.options.plan, this.options.bits)),
      note,
      isWaveEnd,
      state: () => ({ network: Object.fromEntries(this.network), own: Object.fromEntries(this.own) }),
    });
  }

  private result(): Sensitivity {
    const weighted = this.options.plan.layers.filter(({ parameters }) => parameters > 0);
    const macs = weighted.reduce((sum, layer) => sum + layer.macs, 0);
    const own = (label: string, layer: string): number => this.own.get(`${label}/${layer}/own`) ?? 0;
    return {
      schemaVersion: 1,
      items: this.batches.reduce((sum, { items }) => sum + items.length, 0),
      bits: this.waves,
      layers: this.layers.map((layer) => {
        const errors = (kind: 'weights' | 'activations') =>
          this.waves.flatMap((bits) => {
            const found = this.network.get(`${bits}/${layer.name}/${kind}`);
            return found === undefined ? [] : [{ bits, ...found }];
          });
        return {
          name: layer.name,
          role: layer.role,
          macsShare: layer.weight === null || macs === 0 ? 0 : layer.macs / macs,
          weights: errors('weights'),
          activations: errors('activations'),
          ownError: own('plan', layer.name),
          ownErrors: this.waves.map((bits) => ({ bits, error: own(String(bits), layer.name) })),
        };
      }),
    };
  }
}

function switchTensor(on: boolean): Tensor {
  return tensor('bool', [], Uint8Array.of(on ? 1 : 0));
}

function switchFeeds(scan: ScanGraph, layer: string): Feeds {
  return Object.fromEntries((scan.switches.get(layer) ?? []).map((name) => [name, switchTensor(true)]));
}

function weightFeed(scan: ScanGraph, plan: QuantizationPlan, parameters: QuantizedParameters, layer: string): Feeds {
  const input = scan.weights.get(layer);
  const planned = plan.layers.find(({ name }) => name === layer)?.weight;
  const found = parameters.weights.get(layer);
  if (input === undefined || found === undefined || planned === null || planned === undefined) return {};
  const codes = roundToCodes(found.weight, found.scales, planned);
  return { [input]: dequantizeCodes(codes, planned.dims, found.scales, planned) };
}

/** ‖y − ŷ‖ / ‖y‖; 0 for a layer that says nothing and is not disturbed. @throws NibbleflowError NonFiniteLoss */
function ownError(layer: string, error: number, energy: number): number {
  if (error === 0) return 0;
  const share = error / energy;
  if (Number.isFinite(share)) return Math.sqrt(share);
  throw new NibbleflowError('NonFiniteLoss', "a quantized layer's output is not finite, or differs from all zeros", {
    where: layer,
    fix: 'Give the layer more bits, or skip it: overrides: [{ layers: …, skip: true }].',
  });
}
