/** Bytes that need not be in memory: a file, or an array. */
export interface ByteSource {
  /** Number of bytes. */
  readonly size: number;
  /** Bytes [start, end), 0 ≤ start ≤ end ≤ size; may be a view that the caller must not change. */
  read(start: number, end: number): Promise<Uint8Array>;
}

/** An array as a source; reads are views. */
export function sourceOfBytes(bytes: Uint8Array): ByteSource {
  return { size: bytes.byteLength, read: async (start, end) => bytes.subarray(start, end) };
}
