/** One object of a bucket, as listed. */
export interface BucketEntry {
  readonly key: string;
  readonly sizeBytes: number;
  /** When it was last written (or touched, in a folder); milliseconds since 1970. */
  readonly modifiedAt: number;
}

/**
 * Where bytes are kept by key: a folder or an S3 bucket. Keys have forward slashes: `objects/<2>/<sha256>`, `results/…`.
 * A put replaces the object whole or not at all. Every method throws StoreUnavailable when nobody answers (trying again may
 * help), StoreRefused or OutputNotWritable when the place or the rights are wrong (it never does), DiskFull.
 */
export interface Bucket {
  /** What messages call it; never holds credentials. */
  readonly url: string;
  /** Rejects unless the place exists and may be read. */
  check(): Promise<void>;
  /** Size and age of an object; null when there is none. */
  head(key: string): Promise<BucketEntry | null>;
  /** The bytes as they come; null when there is none. */
  read(key: string): Promise<AsyncIterable<Uint8Array> | null>;
  /** Puts chunks one behind the other; they are not joined when there is much of them. */
  put(key: string, chunks: readonly Uint8Array[]): Promise<void>;
  /** Puts a file's bytes, in constant memory. */
  putFile(key: string, path: string, sizeBytes: number): Promise<void>;
  /** Every object whose key starts with the prefix (which ends with a slash), in no order. */
  list(prefix: string): AsyncIterable<BucketEntry>;
  /** Objects that are not there are no error. */
  delete(key: string): Promise<void>;
}

/** All bytes of a stream in one piece. */
export async function collect(chunks: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for await (const chunk of chunks) parts.push(chunk);
  return joinChunks(parts);
}

/** Chunks one behind the other. */
export function joinChunks(parts: readonly Uint8Array[]): Uint8Array {
  const joined = new Uint8Array(parts.reduce((sum, part) => sum + part.byteLength, 0));
  let offset = 0;
  for (const part of parts) {
    joined.set(part, offset);
    offset += part.byteLength;
  }
  return joined;
}
