import { asFloat32, type Float32Tensor, type Tensor } from '../../models/tensors/tensor.js';
import { parametersFromTensors, type QuantizedParameters, tensorsFromParameters } from '../quantized-parameters.js';

/** One validation of a finetuning run. Errors are Σ(ε − ε̃)² / Σε² of the network output. */
export interface CurvePoint {
  readonly phase: string;
  /** Steps done in all phases. */
  readonly step: number;
  readonly validation: number;
  /** Mean training loss since the last point; null at the start of a phase. */
  readonly loss: number | null;
}

/** Everything that decides how a finetuning run goes on. */
export interface FinetuningState {
  readonly phase: number;
  /** Steps done in this phase. */
  readonly step: number;
  /** Steps done in earlier phases. */
  readonly stepsBefore: number;
  /** What this phase started with: the best of the phases before. */
  readonly start: QuantizedParameters;
  /** Trained values of this phase with the lowest held-back error; empty while nothing beats `start`. */
  readonly bestTrained: ReadonlyMap<string, Float32Tensor>;
  readonly bestValidation: number;
  /** Validations since the best one. */
  readonly stale: number;
  readonly lossSum: number;
  readonly lossCount: number;
  readonly curve: readonly CurvePoint[];
  readonly trainingBefore: number;
  /** Current trainables and their Adam moments by input name; empty at the start of a phase. */
  readonly live: ReadonlyMap<string, Tensor>;
}

type Scalars = Omit<FinetuningState, 'start' | 'bestTrained' | 'live'>;

/** A checkpoint as tensors and metadata of a safetensors file. Numbers survive exactly (JSON of doubles round-trips). */
export function checkpointFromState(state: FinetuningState): {
  tensors: Map<string, Tensor>;
  metadata: Record<string, string>;
} {
  const { start, bestTrained, live, ...scalars } = state;
  const tensors = new Map<string, Tensor>();
  for (const [name, value] of tensorsFromParameters(start)) tensors.set(`start/${name}`, value);
  for (const [name, value] of bestTrained) tensors.set(`best/${name}`, value);
  for (const [name, value] of live) tensors.set(`live/${name}`, value);
  return { tensors, metadata: { state: JSON.stringify(scalars) } };
}

/** The reverse of `checkpointFromState`. */
export function stateFromCheckpoint(
  tensors: ReadonlyMap<string, Tensor>,
  metadata: Readonly<Record<string, string>>,
): FinetuningState {
  const start = new Map<string, Tensor>();
  const bestTrained = new Map<string, Float32Tensor>();
  const live = new Map<string, Tensor>();
  for (const [name, value] of tensors) {
    if (name.startsWith('start/')) start.set(name.slice('start/'.length), value);
    else if (name.startsWith('best/')) bestTrained.set(name.slice('best/'.length), asFloat32(value));
    else if (name.startsWith('live/')) live.set(name.slice('live/'.length), value);
  }
  const scalars = JSON.parse(metadata.state ?? '{}') as Scalars;
  return { ...scalars, start: parametersFromTensors(start), bestTrained, live };
}
