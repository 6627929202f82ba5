import type { FailureKind } from '../../contracts/errors.js';
import type { Device, OpenOptions, Resident } from '../../models/executor.js';
import {
  bytesFromTensor,
  dataFromBytes,
  type ElementType,
  elementSizeBytes,
  type Tensor,
} from '../../models/tensors/tensor.js';

/**
 * What the worker and its engine child say to each other, over one stream (file descriptor 3 of the child).
 *
 * A frame is: uint32 little-endian byte length of the header · header (UTF-8 JSON with a `blobs` array of byte lengths) ·
 * the blobs, back to back. Tensors travel as their raw little-endian bytes. Measured against node's own IPC channel with
 * `serialization: 'advanced'`: 1 MB there and back 1.7 ms instead of 4.6 ms, 100 MB 0.3 s instead of 0.65 s.
 */

/** Shape and type of a tensor whose bytes are blob number `blob` of the same frame. */
export interface TensorHeader {
  readonly type: ElementType;
  readonly dims: readonly number[];
  readonly blob: number;
}

export type FeedHeader = TensorHeader | { readonly resident: number };

export type Request =
  | { readonly op: 'open'; readonly path: string | null; readonly options: OpenOptions }
  | {
      readonly op: 'run';
      readonly session: number;
      readonly feeds: Readonly<Record<string, FeedHeader>>;
      readonly outputs: readonly string[];
      readonly keep: readonly string[];
    }
  | { readonly op: 'release'; readonly session: number }
  | { readonly op: 'upload'; readonly tensor: TensorHeader }
  | { readonly op: 'download'; readonly resident: number }
  | { readonly op: 'free'; readonly residents: readonly number[] }
  | { readonly op: 'close' };

export interface ReplyOf {
  open: { readonly session: number; readonly inputNames: readonly string[]; readonly outputNames: readonly string[] };
  run: { readonly outputs: Readonly<Record<string, TensorHeader>>; readonly kept: Readonly<Record<string, Resident>> };
  release: Record<string, never>;
  upload: { readonly resident: Resident };
  download: { readonly tensor: TensorHeader };
  free: Record<string, never>;
  close: Record<string, never>;
}

export interface Failure {
  readonly kind: FailureKind;
  readonly what: string;
  readonly where?: string;
  readonly fix?: string;
}

export type Reply = { readonly ok: ReplyOf[keyof ReplyOf] } | { readonly failure: Failure };

/** What the parent tells the child on its command line. */
export interface ChildSettings {
  readonly device: Device;
  readonly threads: number;
  readonly spinning: boolean;
  readonly logLevel: LogLevel;
  /**
   * A folder for the profiles that prove placement; null on the CPU, which has nothing to prove. The parent removes it: the
   * child may be killed before it could.
   */
  readonly scratch: string | null;
}

export type LogLevel = 'verbose' | 'info' | 'warning' | 'error' | 'fatal';

/** The stream both sides use: its number in the child. */
export const CHANNEL_FD = 3;

export interface Frame<Header> {
  readonly header: Header;
  readonly blobs: readonly Uint8Array[];
}

/** A length-prefixed header; the blobs follow it on the wire as they are. */
export function frameHead(header: object, blobs: readonly Uint8Array[]): Uint8Array {
  const json = Buffer.from(JSON.stringify({ header, blobs: blobs.map((blob) => blob.byteLength) }));
  const head = Buffer.allocUnsafe(4 + json.byteLength);
  head.writeUInt32LE(json.byteLength, 0);
  json.copy(head, 4);
  return head;
}

/** The inverse of the JSON part of `frameHead`. */
export function parseHead<Header>(json: Uint8Array): { header: Header; blobs: readonly number[] } {
  return JSON.parse(Buffer.from(json.buffer, json.byteOffset, json.byteLength).toString('utf8')) as {
    header: Header;
    blobs: readonly number[];
  };
}

/** Appends the tensor's bytes to `blobs` and describes them. */
export function tensorHeader(tensor: Tensor, blobs: Uint8Array[]): TensorHeader {
  const bytes = bytesFromTensor(tensor);
  const expected = tensor.dims.reduce((product, dim) => product * dim, elementSizeBytes(tensor.type));
  if (bytes.byteLength !== expected) {
    throw new RangeError(
      `${tensor.type} [${tensor.dims.join(', ')}] needs ${expected} bytes, its data has ${bytes.byteLength}`,
    );
  }
  blobs.push(bytes);
  return { type: tensor.type, dims: tensor.dims, blob: blobs.length - 1 };
}

/** The tensor a header describes; views the blob, which starts its own ArrayBuffer and is therefore aligned. */
export function tensorFromHeader(header: TensorHeader, blobs: readonly Uint8Array[]): Tensor {
  const bytes = blobs[header.blob];
  if (bytes === undefined) throw new RangeError(`the frame has no blob ${header.blob}`);
  return { type: header.type, dims: header.dims, data: dataFromBytes(header.type, bytes) };
}
