import type { Runnable } from '../../models/executor.js';
import type { Graph } from '../../models/onnx/graph.js';
import { denoiserFeeds } from '../../models/pipelines/denoiser-feeds.js';
import type { Denoiser } from '../../models/pipelines/pipeline.js';
import { permutation } from '../../models/tensors/random.js';
import { activationQuantizers } from '../activation-quantizers.js';
import type { QuantizationPlan } from '../layer-plan.js';
import type { ActivationObservers } from './activation-observers.js';
import {
  batchOf,
  branchCount,
  type CalibrationItem,
  type CalibrationPair,
  type CalibrationSet,
  trajectoryCount,
} from './calibration-set.js';
import { addObservation, type Observation } from './observations.js';

/** Trajectories whose activations are observed: ranges settle long before all of them have been seen. */
const OBSERVED_TRAJECTORIES = 32;

/** Stream of the calibration seed that chooses them. */
const CHOICE_STREAM = 10;

/** Values whose ranges a plan needs to have observed: those of static ranges and of tables. */
export function observedValues(plan: QuantizationPlan): string[] {
  const needed = activationQuantizers(plan).filter(({ scheme }) => scheme.ranges !== 'dynamic');
  return [...new Set(needed.map(({ value }) => value))];
}

/** The graph with the observed values as its only outputs; inputs of the graph stay outside of it. */
export function observationGraph(graph: Graph, values: readonly string[]): Graph {
  const observed = graph.clone();
  observed.outputs = values
    .filter((value) => graph.producerOf(value) !== undefined)
    .map((name) => graph.outputs.find((output) => output.name === name) ?? { name, type: 'float32', shape: null });
  return observed;
}

/**
 * The calls of the denoiser whose activations are observed, one list per kept timestep: a draw of trajectories, both guidance
 * branches; or, when samples were allotted to steps, all of those.
 */
export function observedItems(set: CalibrationSet, seed: number): CalibrationItem[][] {
  if (set.allotment !== undefined) return allottedItems(set, set.allotment);
  const count = trajectoryCount(set);
  const chosen = Array.from(permutation(seed, CHOICE_STREAM, count)).slice(0, OBSERVED_TRAJECTORIES);
  return set.timesteps.map((_, step) =>
    chosen.flatMap((trajectory) =>
      Array.from({ length: branchCount(set) }, (_unused, branch) => ({ trajectory, step, branch })),
    ),
  );
}

function allottedItems(set: CalibrationSet, allotment: readonly CalibrationPair[]): CalibrationItem[][] {
  const branches = Array.from({ length: branchCount(set) }, (_, branch) => branch);
  return set.timesteps.map((_, step) =>
    allotment.filter((pair) => pair.step === step).flatMap((pair) => branches.map((branch) => ({ ...pair, branch }))),
  );
}

/** Runs items of one timestep and adds what is wanted of them to `observers`. */
export async function observeBatch(
  runnable: Runnable,
  context: { readonly denoiser: Denoiser; readonly set: CalibrationSet; readonly wanted: readonly Observation[] },
  items: readonly CalibrationItem[],
  observers: ActivationObservers,
): Promise<void> {
  const { denoiser, set, wanted } = context;
  const batch = batchOf(set, items);
  const [timestep = 0] = batch.timesteps;
  const feeds = denoiserFeeds(denoiser, { ...batch, timestep, classLabels: null });
  const outputs = await runnable.run(feeds);
  for (const one of wanted) {
    const found = outputs[one.value] ?? feeds[one.value];
    if (found === undefined) throw new RangeError(`${one.value} was not computed`);
    addObservation(observers, one, timestep, found);
  }
}
