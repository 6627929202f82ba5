import type { Message } from '@bufbuild/protobuf';

/**
 * A shallow copy of a protobuf message with other field values; unknown fields travel along, the original is untouched.
 * A field set to undefined is absent.
 */
export function withFields<M extends Message>(message: M, fields: { [K in keyof M]?: M[K] | undefined }): M {
  const copy = Object.assign(Object.create(Object.getPrototypeOf(message)), message);
  for (const [key, value] of Object.entries(fields)) {
    if (value === undefined) delete copy[key];
    else copy[key] = value;
  }
  return copy;
}
