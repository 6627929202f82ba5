import type { Tensor } from './tensors/tensor.js';

/**
 * How the pure rooms run graphs. The activities' engine implements it on onnxruntime-node; nothing in models/,
 * quantization/ or evaluation/ imports a runtime.
 */
export interface Executor {
  /** Where nodes run. A session that would place nodes elsewhere is an error, never a fallback. */
  readonly device: Device;
  /** Compiles a model. `model` is a serialized ModelProto, or a file with external data beside it. */
  open(model: Uint8Array | ModelFile, options?: OpenOptions): Promise<Runnable>;
  /** Copies a tensor to the executor's process, where runs can read it again and again. */
  upload(tensor: Tensor): Promise<Resident>;
  download(resident: Resident): Promise<Tensor>;
  /** Forgets residents; unknown ones are an error. */
  free(residents: Iterable<Resident>): Promise<void>;
}

export type Device = 'cpu' | 'webgpu' | 'cuda';

export interface ModelFile {
  /** Path known to the executor; pure rooms only pass it through. */
  readonly path: string;
}

export interface OpenOptions {
  /** `disabled` runs the graph exactly as written; default `all` (with the guards of the session factory). */
  readonly optimization?: 'disabled' | 'basic' | 'all';
  /**
   * Whether memory is laid out once for all later runs, beside what the first run took; default true. Without, a training
   * step holds a third less at its peak, at the same speed.
   */
  readonly memoryPattern?: boolean;
  /**
   * Whether the session keeps memory that it has used for later runs; default true. Without, many sessions of large operators
   * hold what is in use, and not each its own peak; every run then asks the system for memory.
   */
  readonly memoryArena?: boolean;
}

/** A tensor that stays in the executor's process: parameters and optimizer state of a training loop never cross it. */
export interface Resident {
  readonly resident: number;
  readonly type: Tensor['type'];
  readonly dims: readonly number[];
}

export type Feeds = Readonly<Record<string, Tensor | Resident>>;

export interface Runnable {
  readonly inputNames: readonly string[];
  readonly outputNames: readonly string[];
  /** Runs once. `outputs` limits what is computed and copied back; default: all. */
  run(feeds: Feeds, outputs?: readonly string[]): Promise<Record<string, Tensor>>;
  /** Runs once, copies `outputs` back and keeps the outputs named in `keep` as residents. */
  runKeeping(
    feeds: Feeds,
    outputs: readonly string[],
    keep: readonly string[],
  ): Promise<{ outputs: Record<string, Tensor>; kept: Record<string, Resident> }>;
  /** Frees the native session; must be called exactly once. */
  release(): Promise<void>;
}
