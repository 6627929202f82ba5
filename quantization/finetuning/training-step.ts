import type { Executor, Feeds, Resident, Runnable } from '../../models/executor.js';
import type { Graph, ValueInfo } from '../../models/onnx/graph.js';
import { writeModel } from '../../models/onnx/model-proto.js';
import { type Float32Tensor, float32, zeros } from '../../models/tensors/tensor.js';
import { branchCount, type CalibrationItem, type CalibrationSet } from '../calibration/calibration-set.js';
import type { DenoiserInputs } from '../layer-roles.js';
import { type AccumulatingGraphs, buildAccumulatingGraphs } from './accumulating-graphs.js';
import { calibrationFeeds, trainingBatch } from './finetuning-data.js';
import { buildTrainingGraph, type Trainable, type TrainingGraph, type TrainingGraphSpec } from './training-graph.js';

/** Parameters and moments by input name; they stay in the engine. */
export type Residents = Record<string, Resident>;

/** One step of training, however its batch is computed. */
export interface TrainingStep {
  readonly trainables: readonly Trainable[];
  /** Inputs that training changes: parameters and moments. */
  readonly state: readonly ValueInfo[];
  /** Makes a step with these items, learning rates and step number; the residents that it was given are freed. */
  run(
    items: readonly CalibrationItem[],
    rates: Readonly<Record<string, Float32Tensor>>,
    residents: Residents,
  ): Promise<{ loss: number; residents: Residents }>;
  release(): Promise<void>;
}

export interface StepContext {
  readonly executor: Executor;
  readonly calibration: CalibrationSet;
  readonly inputs: DenoiserInputs;
}

/** Everything of a training graph but the dims of its batch. */
export type StepSpec = Omit<TrainingGraphSpec, 'sampleDims' | 'conditioningDims'>;

/**
 * In how many micro-batches a batch is computed when `wanted` are asked for: the smallest number, at least that, into which
 * the batch's pairs can be divided; as many as there are pairs when more are asked for.
 */
export function microBatches(set: CalibrationSet, batchSize: number, wanted: number): number {
  const pairs = trainingBatch(set, batchSize) / branchCount(set);
  let parts = Math.min(wanted, pairs);
  while (pairs % parts !== 0) parts += 1;
  return parts;
}

/** Opens the sessions of a step: one for the whole batch, or for `parts` micro-batches of it. */
export async function openTrainingStep(
  context: StepContext,
  spec: StepSpec,
  { batchSize, parts }: { readonly batchSize: number; readonly parts: number },
): Promise<TrainingStep> {
  const { executor, calibration } = context;
  const rows = trainingBatch(calibration, batchSize) / parts;
  const batch = { ...spec, ...batchDims(calibration, rows) };
  const open = (graph: Graph): Promise<Runnable> => executor.open(writeModel(graph), { memoryPattern: false });
  if (parts === 1) {
    const training = buildTrainingGraph(batch);
    return new WholeStep(context, training, await open(training.graph));
  }
  const graphs = buildAccumulatingGraphs(batch, parts);
  const sessions = {
    gradients: await open(graphs.gradients),
    update: await open(graphs.update),
    energy: graphs.energy === null ? null : await open(graphs.energy.graph),
  };
  return new AccumulatedStep(context, graphs, sessions, parts);
}

/** Dims of a batch of calibration items. */
function batchDims(
  set: CalibrationSet,
  size: number,
): { sampleDims: readonly number[]; conditioningDims: readonly number[] | null } {
  return {
    sampleDims: [size, ...set.samples.dims.slice(2)],
    conditioningDims: set.conditioning === null ? null : [size, ...set.conditioning.dims.slice(1)],
  };
}

/** Inputs of a graph with these names. */
function inputsNamed(graph: Graph, names: Iterable<string>): ValueInfo[] {
  const wanted = new Set(names);
  return graph.inputs.filter(({ name }) => wanted.has(name));
}

/** Those feeds that the graph has inputs for: without trained weights, or without scales, one of the rates is unused. */
function takenBy<Value extends Feeds[string]>(
  graph: Graph,
  feeds: Readonly<Record<string, Value>>,
): Record<string, Value> {
  const names = new Set(graph.inputs.map(({ name }) => name));
  return Object.fromEntries(Object.entries(feeds).filter(([name]) => names.has(name)));
}

/** The residents that take the place of those with the same input names. */
function renamed(updates: ReadonlyMap<string, string>, kept: Readonly<Record<string, Resident>>): Residents {
  return Object.fromEntries([...updates].map(([name, updated]) => [name, kept[updated] as Resident]));
}

class WholeStep implements TrainingStep {
  readonly trainables: readonly Trainable[];
  readonly state: readonly ValueInfo[];

  constructor(
    private readonly context: StepContext,
    private readonly training: TrainingGraph,
    private readonly runnable: Runnable,
  ) {
    this.trainables = training.trainables;
    this.state = inputsNamed(training.graph, training.updates.keys());
  }

  async run(
    items: readonly CalibrationItem[],
    rates: Readonly<Record<string, Float32Tensor>>,
    residents: Residents,
  ): Promise<{ loss: number; residents: Residents }> {
    const { graph, loss, updates } = this.training;
    const { calibration, inputs, executor } = this.context;
    const feeds = { ...calibrationFeeds(calibration, items, inputs, graph), ...residents, ...takenBy(graph, rates) };
    const { outputs, kept } = await this.runnable.runKeeping(feeds, [loss], [...updates.values()]);
    await executor.free(Object.values(residents));
    return { loss: Number(outputs[loss]?.data[0]), residents: renamed(updates, kept) };
  }

  release(): Promise<void> {
    return this.runnable.release();
  }
}

interface AccumulatedSessions {
  readonly gradients: Runnable;
  readonly update: Runnable;
  readonly energy: Runnable | null;
}

class AccumulatedStep implements TrainingStep {
  readonly trainables: readonly Trainable[];
  readonly state: readonly ValueInfo[];

  constructor(
    private readonly context: StepContext,
    private readonly graphs: AccumulatingGraphs,
    private readonly sessions: AccumulatedSessions,
    private readonly parts: number,
  ) {
    this.trainables = graphs.trainables;
    this.state = inputsNamed(graphs.update, graphs.updates.keys());
  }

  async run(
    items: readonly CalibrationItem[],
    rates: Readonly<Record<string, Float32Tensor>>,
    residents: Residents,
  ): Promise<{ loss: number; residents: Residents }> {
    const { graphs, sessions, context } = this;
    const { executor } = context;
    const micro = this.split(items);
    const energies = await this.energies(micro);
    let sums = await this.zeroSums();
    let loss = 0;
    for (const part of micro) {
      const feeds = { ...this.feedsOf(part, graphs.gradients), ...takenBy(graphs.gradients, residents), ...energies };
      const wanted = [...graphs.sums.values()];
      const { outputs, kept } = await sessions.gradients.runKeeping({ ...feeds, ...sums }, [graphs.loss], wanted);
      await executor.free(Object.values(sums));
      sums = renamed(graphs.sums, kept);
      loss += Number(outputs[graphs.loss]?.data[0]) / this.parts;
    }
    const feeds = { ...residents, ...sums, ...takenBy(graphs.update, rates) };
    const { kept } = await sessions.update.runKeeping(feeds, [], [...graphs.updates.values()]);
    await executor.free([...Object.values(residents), ...Object.values(sums)]);
    return { loss, residents: renamed(graphs.updates, kept) };
  }

  async release(): Promise<void> {
    await this.sessions.energy?.release();
    await this.sessions.update.release();
    await this.sessions.gradients.release();
  }

  /** The same pairs of every branch stay together: the halves of a micro-batch are its branches. */
  private split(items: readonly CalibrationItem[]): CalibrationItem[][] {
    const branches = branchCount(this.context.calibration);
    const pairs = items.length / branches;
    const size = pairs / this.parts;
    return Array.from({ length: this.parts }, (_, part) =>
      Array.from({ length: branches }, (_, branch) => {
        const from = branch * pairs + part * size;
        return items.slice(from, from + size);
      }).flat(),
    );
  }

  private feedsOf(items: readonly CalibrationItem[], graph: Graph): Feeds {
    const { calibration, inputs } = this.context;
    return calibrationFeeds(calibration, items, inputs, graph);
  }

  /** The energies of the whole batch: means over its micro-batches, all of one size. */
  private async energies(micro: readonly (readonly CalibrationItem[])[]): Promise<Record<string, Float32Tensor>> {
    const { energy } = this.graphs;
    if (energy === null || this.sessions.energy === null) return {};
    const means = energy.outputs.map(() => 0);
    for (const items of micro) {
      const found = await this.sessions.energy.run(this.feedsOf(items, energy.graph));
      for (const [i, { output }] of energy.outputs.entries()) {
        means[i] = (means[i] ?? 0) + Number(found[output]?.data[0]) / this.parts;
      }
    }
    return Object.fromEntries(energy.outputs.map(({ input }, i) => [input, float32([], [means[i] ?? 0])]));
  }

  private async zeroSums(): Promise<Residents> {
    const sums: Residents = {};
    for (const { name, shape } of inputsNamed(this.graphs.gradients, this.graphs.sums.keys())) {
      sums[name] = await this.context.executor.upload(zeros('float32', (shape ?? []).map(Number)));
    }
    return sums;
  }
}
