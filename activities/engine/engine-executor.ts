import { NibbleflowError, nearestName } from '../../contracts/errors.js';
import type { Device, Executor, Feeds, ModelFile, OpenOptions, Resident, Runnable } from '../../models/executor.js';
import type { Tensor } from '../../models/tensors/tensor.js';
import { EngineChild } from './engine-child.js';
import { type FeedHeader, type LogLevel, type TensorHeader, tensorFromHeader, tensorHeader } from './protocol.js';

export interface EngineOptions {
  readonly device: Device;
  /** Threads inside an operator; results are reproducible for a fixed number only. */
  readonly threads: number;
  /**
   * Whether threads that wait for work spin; default false. The zoo's UNet on 2 threads: 0.8 × the time when the cores are
   * the engine's own, 1.3 to 1.9 × when anything else wants them.
   */
  readonly spinning?: boolean;
  /** Aborting kills the engine at once; pending and later calls reject with an AbortError. */
  readonly signal?: AbortSignal;
  /** Of onnxruntime's log, which errors quote; default `error`. */
  readonly logLevel?: LogLevel;
}

/**
 * Runs graphs on onnxruntime in a child process of its own, which can be killed at any moment. Calls may overlap; they are
 * executed in order. Tensors and models that are passed in must not change until the call's promise settles.
 */
export class EngineExecutor implements Executor {
  private constructor(
    readonly device: Device,
    readonly threads: number,
    private readonly child: EngineChild,
  ) {}

  /**
   * Starts an engine and waits until it answers. Throws NibbleflowError('EngineCrashed') when it does not start, and an
   * AbortError when `signal` aborts first. Whether the device works shows at `open` and the first run of each session.
   */
  static async start(options: EngineOptions): Promise<EngineExecutor> {
    const { device, threads, spinning = false, signal, logLevel = 'error' } = options;
    if (!Number.isInteger(threads) || threads < 1)
      throw new RangeError(`threads must be a positive integer, got ${threads}`);
    const child = new EngineChild({ device, threads, spinning, logLevel }, signal);
    await child.call({ op: 'free', residents: [] });
    return new EngineExecutor(device, threads, child);
  }

  /** Process id of the engine. */
  get pid(): number {
    return this.child.pid;
  }

  async open(model: Uint8Array | ModelFile, options: OpenOptions = {}): Promise<Runnable> {
    const inMemory = model instanceof Uint8Array;
    const { ok } = await this.child.call(
      { op: 'open', path: inMemory ? null : model.path, options },
      inMemory ? [model] : [],
    );
    return new EngineRunnable(this.child, ok.session, ok.inputNames, ok.outputNames);
  }

  async upload(tensor: Tensor): Promise<Resident> {
    const blobs: Uint8Array[] = [];
    const { ok } = await this.child.call({ op: 'upload', tensor: tensorHeader(tensor, blobs) }, blobs);
    return ok.resident;
  }

  async download(resident: Resident): Promise<Tensor> {
    const { ok, blobs } = await this.child.call({ op: 'download', resident: resident.resident });
    return tensorFromHeader(ok.tensor, blobs);
  }

  async free(residents: Iterable<Resident>): Promise<void> {
    await this.child.call({ op: 'free', residents: Array.from(residents, (resident) => resident.resident) });
  }

  /** Finishes pending calls, releases every session and ends the process. Later calls reject. */
  async close(): Promise<void> {
    await this.child.close();
  }
}

class EngineRunnable implements Runnable {
  private readonly inputs: ReadonlySet<string>;
  private readonly outputs: ReadonlySet<string>;

  constructor(
    private readonly child: EngineChild,
    private readonly session: number,
    readonly inputNames: readonly string[],
    readonly outputNames: readonly string[],
  ) {
    this.inputs = new Set(inputNames);
    this.outputs = new Set(outputNames);
  }

  async run(feeds: Feeds, outputs: readonly string[] = this.outputNames): Promise<Record<string, Tensor>> {
    return (await this.runKeeping(feeds, outputs, [])).outputs;
  }

  async runKeeping(
    feeds: Feeds,
    outputs: readonly string[],
    keep: readonly string[],
  ): Promise<{ outputs: Record<string, Tensor>; kept: Record<string, Resident> }> {
    this.check(feeds, [...outputs, ...keep]);
    const sent: Uint8Array[] = [];
    const headers: Record<string, FeedHeader> = {};
    for (const [name, feed] of Object.entries(feeds)) {
      headers[name] = 'resident' in feed ? { resident: feed.resident } : tensorHeader(feed, sent);
    }
    const { ok, blobs } = await this.child.call(
      { op: 'run', session: this.session, feeds: headers, outputs, keep },
      sent,
    );
    const result: Record<string, Tensor> = {};
    for (const [name, header] of Object.entries<TensorHeader>(ok.outputs))
      result[name] = tensorFromHeader(header, blobs);
    return { outputs: result, kept: { ...ok.kept } };
  }

  async release(): Promise<void> {
    await this.child.call({ op: 'release', session: this.session });
  }

  /** Every input fed, nothing else; at least one output, all of them known. */
  private check(feeds: Feeds, wanted: readonly string[]): void {
    for (const name of this.inputNames) {
      if (feeds[name] === undefined)
        throw new NibbleflowError('InvalidInput', `the model's input '${name}' is not fed`);
    }
    for (const name of Object.keys(feeds)) checkName(name, this.inputs, 'input');
    for (const name of wanted) checkName(name, this.outputs, 'output');
    if (wanted.length === 0) throw new NibbleflowError('InvalidInput', 'a run needs at least one output');
  }
}

function checkName(name: string, known: ReadonlySet<string>, role: string): void {
  if (known.has(name)) return;
  const nearest = nearestName(name, known);
  throw new NibbleflowError('InvalidInput', `the model has no ${role} '${name}'`, {
    fix: nearest === undefined ? undefined : `Did you mean '${nearest}'?`,
  });
}
