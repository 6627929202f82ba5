import { NibbleflowError } from '../../contracts/errors.js';
import { asFloat32, type Float32Tensor, float32, sliceRows, type Tensor } from '../../models/tensors/tensor.js';

/**
 * Inputs and float outputs of the denoiser on float trajectories: x_t at the kept timesteps of every trajectory, and what the
 * float denoiser said there for each guidance branch.
 */
export interface CalibrationSet {
  /** Kept timesteps, in sampler order; K of them. */
  readonly timesteps: readonly number[];
  /** [N, K, C, H, W]: scaled model inputs. */
  readonly samples: Float32Tensor;
  /** [N, K, branches, C, H, W]: branch 0 is the negative prompt when there are two. */
  readonly outputs: Float32Tensor;
  /** [N, S, D] of each trajectory's prompt, [1, S, D] of the negative prompt; null for unconditional models. */
  readonly conditioning: Float32Tensor | null;
  readonly negative: Float32Tensor | null;
  /** What a squared error of the guided prediction does to the squared error of the final latents, per kept step; mean 1. */
  readonly stepWeights: readonly number[];
  /**
   * The pairs that observation, reconstruction and training draw from, when the samples were allotted to steps; otherwise they
   * draw from all of them. Held-back errors are measured on all steps either way.
   */
  readonly allotment?: readonly CalibrationPair[] | undefined;
}

/** One x_t: a trajectory at a kept step. */
export interface CalibrationPair {
  readonly trajectory: number;
  readonly step: number;
}

/** One call of the denoiser: which trajectory, which kept timestep, which branch. */
export interface CalibrationItem {
  readonly trajectory: number;
  readonly step: number;
  readonly branch: number;
}

export function trajectoryCount(set: CalibrationSet): number {
  return set.samples.dims[0] ?? 0;
}

export function branchCount(set: CalibrationSet): number {
  return set.outputs.dims[2] ?? 1;
}

/** The pairs of some trajectories that may be drawn: the allotted ones, or every kept step of each. */
export function drawnPairs(set: CalibrationSet, trajectories: readonly number[]): CalibrationPair[] {
  if (set.allotment !== undefined) {
    const wanted = new Set(trajectories);
    return set.allotment.filter(({ trajectory }) => wanted.has(trajectory));
  }
  return trajectories.flatMap((trajectory) => set.timesteps.map((_, step) => ({ trajectory, step })));
}

/** Denoiser feeds and targets of some items. */
export interface CalibrationBatch {
  readonly sample: Float32Tensor; // [B, C, H, W]
  readonly timesteps: readonly number[]; // [B]
  readonly conditioning: Float32Tensor | null; // [B, S, D]
  readonly target: Float32Tensor; // [B, C, H, W]
}

/** Gathers items into one batch. */
export function batchOf(set: CalibrationSet, items: readonly CalibrationItem[]): CalibrationBatch {
  const dims = set.samples.dims.slice(2);
  const size = dims.reduce((product, dim) => product * dim, 1);
  const steps = set.timesteps.length;
  const branches = branchCount(set);
  const sample = new Float32Array(items.length * size);
  const target = new Float32Array(items.length * size);
  items.forEach(({ trajectory, step, branch }, row) => {
    const at = trajectory * steps + step;
    sample.set(set.samples.data.subarray(at * size, (at + 1) * size), row * size);
    const from = at * branches + branch;
    target.set(set.outputs.data.subarray(from * size, (from + 1) * size), row * size);
  });
  return {
    sample: float32([items.length, ...dims], sample),
    timesteps: items.map(({ step }) => set.timesteps[step] ?? 0),
    conditioning: conditioningOf(set, items),
    target: float32([items.length, ...dims], target),
  };
}

function conditioningOf(set: CalibrationSet, items: readonly CalibrationItem[]): Float32Tensor | null {
  const { conditioning, negative } = set;
  if (conditioning === null) return null;
  const dims = conditioning.dims.slice(1);
  const size = dims.reduce((product, dim) => product * dim, 1);
  const data = new Float32Array(items.length * size);
  const guided = branchCount(set) === 2;
  items.forEach(({ trajectory, branch }, row) => {
    const from =
      guided && branch === 0 && negative !== null ? negative : sliceRows(conditioning, trajectory, trajectory + 1);
    data.set(from.data.subarray(0, size), row * size);
  });
  return float32([items.length, ...dims], data);
}

export function tensorsFromCalibration(set: CalibrationSet): Map<string, Tensor> {
  const tensors = new Map<string, Tensor>([
    ['timesteps', float32([set.timesteps.length], set.timesteps)],
    ['stepWeights', float32([set.stepWeights.length], set.stepWeights)],
    ['samples', set.samples],
    ['outputs', set.outputs],
  ]);
  if (set.conditioning !== null) tensors.set('conditioning', set.conditioning);
  if (set.negative !== null) tensors.set('negative', set.negative);
  if (set.allotment !== undefined) {
    const pairs = set.allotment.flatMap(({ trajectory, step }) => [trajectory, step]);
    tensors.set('allotment', float32([set.allotment.length, 2], pairs));
  }
  return tensors;
}

export function calibrationFromTensors(tensors: ReadonlyMap<string, Tensor>): CalibrationSet {
  const find = (name: string): Float32Tensor | null => {
    const found = tensors.get(name);
    return found === undefined ? null : asFloat32(found);
  };
  const need = (name: string): Float32Tensor => {
    const found = find(name);
    if (found === null)
      throw new NibbleflowError('MissingArtifact', 'A calibration set is incomplete', { where: name });
    return found;
  };
  return {
    timesteps: Array.from(need('timesteps').data),
    samples: need('samples'),
    outputs: need('outputs'),
    conditioning: find('conditioning'),
    negative: find('negative'),
    stepWeights: Array.from(need('stepWeights').data),
    allotment: pairsFrom(find('allotment')),
  };
}

function pairsFrom(rows: Float32Tensor | null): CalibrationPair[] | undefined {
  if (rows === null) return undefined;
  return Array.from({ length: rows.dims[0] ?? 0 }, (_, row) => ({
    trajectory: rows.data[2 * row] ?? 0,
    step: rows.data[2 * row + 1] ?? 0,
  }));
}
