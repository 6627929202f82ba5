import { createReadStream } from 'node:fs';

const CHUNK_BYTES = 1 << 20;

/** A file's bytes as they are asked for. It is opened by the first reader, so that an error finds somebody listening. */
export async function* fileChunks(path: string): AsyncGenerator<Uint8Array> {
  yield* createReadStream(path, { highWaterMark: CHUNK_BYTES }) as AsyncIterable<Uint8Array>;
}
