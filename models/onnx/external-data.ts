import { NibbleflowError } from '../../contracts/errors.js';
import type { TensorProto } from './onnx_pb.js';

/** Reads `length` bytes at `offset` of the external data file `location` (posix path relative to the model's folder). */
export type ExternalReader = (location: string, offset: number, length: number) => Uint8Array;

/**
 * Checks an external-data location: a relative posix path that stays inside the model's folder. Returns it normalised
 * (without `.` and empty segments).
 * @throws NibbleflowError InvalidModel when it is empty, absolute, has a drive, a backslash, a NUL or a `..` segment.
 */
export function resolveExternalLocation(location: string, where?: string): string {
  const segments = location.split('/').filter((segment) => segment !== '' && segment !== '.');
  const escapes =
    location.startsWith('/') ||
    location.includes('\\') ||
    location.includes('\0') ||
    /^[A-Za-z]:/.test(location) ||
    segments.includes('..');
  if (escapes || segments.length === 0) {
    throw new NibbleflowError('InvalidModel', `External data location ${JSON.stringify(location)} leaves the folder`, {
      where,
      fix: 'External data must be a file inside the folder of the model. Export the model again, or move the data beside it.',
    });
  }
  return segments.join('/');
}

interface ExternalRange {
  readonly location: string;
  readonly offset: number;
  readonly length: number;
}

/**
 * The bytes of a tensor that is stored outside the model file.
 * @param expected bytes that type and dims ask for
 * @throws NibbleflowError InvalidModel for a bad location, a range that does not fit, or a file that cannot be read.
 */
export function readExternalTensor(
  proto: TensorProto,
  expected: number,
  external: ExternalReader | undefined,
  where: string,
): Uint8Array {
  const range = externalRange(proto, expected, where);
  if (external === undefined) {
    throw new NibbleflowError(
      'InvalidModel',
      `The model keeps tensor "${proto.name}" in the file "${range.location}"`,
      {
        where,
        fix: 'Give the folder of the model, not its bytes alone.',
      },
    );
  }
  const bytes = callReader(external, range, proto.name, where);
  if (bytes.byteLength !== range.length) {
    throw new NibbleflowError(
      'InvalidModel',
      `External data "${range.location}" is too short for tensor "${proto.name}": bytes ${range.offset} to ` +
        `${range.offset + range.length} were asked for, ${bytes.byteLength} bytes came`,
      { where, fix: 'The data file is truncated or belongs to another model; copy both again.' },
    );
  }
  return bytes;
}

function callReader(external: ExternalReader, range: ExternalRange, tensor: string, where: string): Uint8Array {
  try {
    return external(range.location, range.offset, range.length);
  } catch (cause) {
    if (cause instanceof NibbleflowError) throw cause;
    throw new NibbleflowError(
      'InvalidModel',
      `External data "${range.location}" of tensor "${tensor}" cannot be read: ${cause instanceof Error ? cause.message : String(cause)}`,
      { where, fix: 'Copy the data file beside the model.', cause },
    );
  }
}

function externalRange(proto: TensorProto, expected: number, where: string): ExternalRange {
  const entries = new Map(proto.externalData.map((entry) => [entry.key, entry.value]));
  const location = resolveExternalLocation(entries.get('location') ?? '', where);
  const offset = byteNumber(entries.get('offset') ?? '0', 'offset', proto.name, where);
  const length = byteNumber(entries.get('length') ?? String(expected), 'length', proto.name, where);
  if (length !== expected) {
    throw new NibbleflowError(
      'InvalidModel',
      `Tensor "${proto.name}" needs ${expected} bytes, its external data entry says ${length}`,
      { where, fix: 'Export the model again.' },
    );
  }
  return { location, offset, length };
}

function byteNumber(text: string, key: string, tensor: string, where: string): number {
  const value = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (Number.isSafeInteger(value)) return value;
  throw new NibbleflowError(
    'InvalidModel',
    `External data of tensor "${tensor}" has ${key} ${JSON.stringify(text)}, which is no byte count`,
    { where, fix: 'Export the model again.' },
  );
}
