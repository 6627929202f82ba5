import { type InferenceSession, Tensor as OrtTensor } from 'onnxruntime-node';
import type { OpenOptions, Resident } from '../../models/executor.js';
import { ELEMENT_TYPES, type ElementType, type Tensor, type TensorData } from '../../models/tensors/tensor.js';
import { openFailure, runFailure } from './failures.js';
import { PlacementCheck } from './placement.js';
import {
  type ChildSettings,
  type Failure,
  type FeedHeader,
  type Reply,
  type ReplyOf,
  type Request,
  type TensorHeader,
  tensorFromHeader,
  tensorHeader,
} from './protocol.js';
import { createSession } from './session-factory.js';

interface OpenSession {
  readonly session: InferenceSession;
  /** Present until the first run has shown where the nodes run. */
  placement: PlacementCheck | undefined;
}

/** A reply whose tensors are in `blobs`. */
export interface Answer {
  readonly reply: Reply;
  readonly blobs: readonly Uint8Array[];
}

/** A failure on its way to the parent. */
class RequestFailed extends Error {
  constructor(readonly failure: Failure) {
    super(failure.what);
  }
}

type RequestOf<Op extends Request['op']> = Extract<Request, { op: Op }>;

/** The engine's state (sessions and residents) and what each request does to it. */
export class EngineServer {
  private readonly sessions = new Map<number, OpenSession>();
  private readonly residents = new Map<number, OrtTensor>();
  private lastId = 0;
  private anchor: InferenceSession | undefined;

  constructor(private readonly settings: ChildSettings) {}

  /** Executes one request; failures are answers, not exceptions. */
  async handle(request: Request, blobs: readonly Uint8Array[]): Promise<Answer> {
    const replyBlobs: Uint8Array[] = [];
    try {
      return { reply: { ok: await this.execute(request, blobs, replyBlobs) }, blobs: replyBlobs };
    } catch (error) {
      const failure: Failure =
        error instanceof RequestFailed
          ? error.failure
          : { kind: 'Internal', what: error instanceof Error ? (error.stack ?? error.message) : String(error) };
      return { reply: { failure }, blobs: [] };
    }
  }

  private async execute(
    request: Request,
    blobs: readonly Uint8Array[],
    replyBlobs: Uint8Array[],
  ): Promise<ReplyOf[keyof ReplyOf]> {
    switch (request.op) {
      case 'open':
        return this.open(request, blobs);
      case 'run':
        return this.run(request, blobs, replyBlobs);
      case 'release':
        return this.release(request.session);
      case 'upload':
        return { resident: this.keep(ortTensor(tensorFromHeader(request.tensor, blobs))) };
      case 'download':
        return { tensor: tensorHeader(tensorFromOrt(this.residentOf(request.resident)), replyBlobs) };
      case 'free':
        return this.free(request.residents);
      case 'close':
        for (const session of this.sessions.keys()) await this.release(session);
        await this.anchor?.release();
        this.residents.clear();
        return {};
    }
  }

  private async open(request: RequestOf<'open'>, blobs: readonly Uint8Array[]): Promise<ReplyOf['open']> {
    const [bytes] = blobs;
    const model = request.path !== null ? { path: request.path } : (bytes ?? new Uint8Array());
    const { device, scratch } = this.settings;
    if (device === 'webgpu') this.anchor ??= await this.openAnchor(request);
    const placement = scratch === null ? undefined : new PlacementCheck(device, scratch);
    const session = await this.create(model, request, placement?.profilePrefix);
    try {
      refuseUncarriedTypes(session);
    } catch (error) {
      await session.release();
      throw error;
    }
    this.lastId += 1;
    this.sessions.set(this.lastId, { session, placement });
    return { session: this.lastId, inputNames: session.inputNames, outputNames: session.outputNames };
  }

  private async openAnchor(request: RequestOf<'open'>): Promise<InferenceSession> {
    const { anchorModel } = await import('./anchor-model.js');
    return this.create(anchorModel(), request, undefined);
  }

  private async create(
    model: Uint8Array | { path: string },
    request: RequestOf<'open'>,
    profilePrefix: string | undefined,
  ): Promise<InferenceSession> {
    const optimization: NonNullable<OpenOptions['optimization']> = request.options.optimization ?? 'all';
    try {
      const { memoryPattern = true, memoryArena = true } = request.options;
      const options = { optimization, memoryPattern, memoryArena, profilePrefix };
      return await createSession(model, { ...this.settings, ...options });
    } catch (error) {
      throw new RequestFailed(openFailure(error, this.settings.device, request.path ?? undefined));
    }
  }

  private async run(
    request: RequestOf<'run'>,
    blobs: readonly Uint8Array[],
    replyBlobs: Uint8Array[],
  ): Promise<ReplyOf['run']> {
    const open = this.sessionOf(request.session);
    const feeds: Record<string, OrtTensor> = {};
    for (const [name, header] of Object.entries(request.feeds)) feeds[name] = this.feedOf(header, blobs);
    const results = await runSession(open.session, feeds, [...new Set([...request.outputs, ...request.keep])]);
    if (open.placement !== undefined) {
      const failure = open.placement.finish(open.session);
      open.placement = undefined;
      if (failure !== undefined) {
        await this.release(request.session);
        throw new RequestFailed(failure);
      }
    }
    const outputs: Record<string, TensorHeader> = {};
    for (const name of request.outputs)
      outputs[name] = tensorHeader(tensorFromOrt(resultOf(results, name)), replyBlobs);
    const kept: Record<string, Resident> = {};
    for (const name of request.keep) kept[name] = this.keep(resultOf(results, name));
    return { outputs, kept };
  }

  private async release(id: number): Promise<Record<string, never>> {
    const { session, placement } = this.sessionOf(id);
    this.sessions.delete(id);
    placement?.discard(session);
    await session.release();
    return {};
  }

  /** All of them or, when one is unknown, none. */
  private free(ids: readonly number[]): Record<string, never> {
    for (const id of ids) this.residentOf(id);
    for (const id of ids) this.residents.delete(id);
    return {};
  }

  private keep(tensor: OrtTensor): Resident {
    this.lastId += 1;
    this.residents.set(this.lastId, tensor);
    return { resident: this.lastId, type: tensor.type as ElementType, dims: tensor.dims };
  }

  private feedOf(header: FeedHeader, blobs: readonly Uint8Array[]): OrtTensor {
    return 'resident' in header ? this.residentOf(header.resident) : ortTensor(tensorFromHeader(header, blobs));
  }

  private sessionOf(id: number): OpenSession {
    const found = this.sessions.get(id);
    if (found === undefined)
      throw new RequestFailed({ kind: 'Internal', what: `session ${id} was released or never opened` });
    return found;
  }

  private residentOf(id: number): OrtTensor {
    const found = this.residents.get(id);
    if (found === undefined)
      throw new RequestFailed({ kind: 'Internal', what: `resident ${id} was freed or never uploaded` });
    return found;
  }
}

async function runSession(
  session: InferenceSession,
  feeds: Record<string, OrtTensor>,
  fetches: readonly string[],
): Promise<InferenceSession.ReturnType> {
  try {
    return await session.run(feeds, fetches);
  } catch (error) {
    throw new RequestFailed(runFailure(error));
  }
}

/** Types without a tensor make onnxruntime-node throw late or abort the process. */
function refuseUncarriedTypes(session: InferenceSession): void {
  for (const value of [...session.inputMetadata, ...session.outputMetadata]) {
    const type = value.isTensor ? value.type : 'not a tensor';
    if (!ELEMENT_TYPES.has(type)) {
      throw new RequestFailed({
        kind: 'InvalidModel',
        what: `graph input or output '${value.name}' is ${type}, which onnxruntime-node cannot carry`,
        fix: 'Dequantize or cast it inside the graph.',
      });
    }
  }
}

function resultOf(results: InferenceSession.ReturnType, name: string): OrtTensor {
  const found = results[name];
  if (found === undefined) throw new RequestFailed({ kind: 'InvalidInput', what: `the model has no output '${name}'` });
  return found as OrtTensor;
}

/** A view: onnxruntime reads the data in place. */
function ortTensor(tensor: Tensor): OrtTensor {
  return new OrtTensor(tensor.type, tensor.data, tensor.dims);
}

/** A view. */
function tensorFromOrt(tensor: OrtTensor): Tensor {
  return { type: tensor.type as ElementType, dims: tensor.dims, data: tensor.data as TensorData[ElementType] };
}
