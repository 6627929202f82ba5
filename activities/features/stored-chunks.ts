import { type FileHandle, open } from 'node:fs/promises';
import type { ArtifactRef } from '../../contracts/artifact.js';
import { NibbleflowError } from '../../contracts/errors.js';
import { readSafetensorsHeader, type SafetensorsEntry } from '../../models/tensors/safetensors.js';
import type { LocalStore } from '../store/local-store.js';

const FLOAT_BYTES = 4;

/** Rows of float32 tensors in several safetensors artifacts, read where they lie: nothing of them stays in memory. */
export class StoredChunks {
  private readonly headers = new Map<number, Promise<Map<string, SafetensorsEntry>>>();

  constructor(
    private readonly store: LocalStore,
    private readonly refs: readonly ArtifactRef[],
  ) {}

  /**
   * Gathers rows of width `d` of tensor `name`: row i of the result is row `rowOf[i]` of chunk `chunkOf[i]`. Neighbouring
   * rows are read at once. Throws MissingArtifact when a chunk is gone or damaged.
   */
  async read(name: string, d: number, chunkOf: Uint32Array, rowOf: Uint32Array): Promise<Float32Array> {
    const result = new Float32Array(chunkOf.length * d);
    const bytes = new Uint8Array(result.buffer);
    for (let start = 0; start < chunkOf.length; ) {
      const chunk = chunkOf[start] as number;
      let end = start + 1;
      while (end < chunkOf.length && chunkOf[end] === chunk) end += 1;
      await this.readChunk(chunk, name, d, rowOf.subarray(start, end), bytes.subarray(start * d * FLOAT_BYTES));
      start = end;
    }
    return result;
  }

  private async readChunk(chunk: number, name: string, d: number, rows: Uint32Array, into: Uint8Array): Promise<void> {
    const file = await open(await this.store.path(this.refs[chunk] as ArtifactRef), 'r');
    try {
      const entry = await this.entry(chunk, name, file);
      if (entry.dims.length !== 2 || entry.dims[1] !== d) throw new RangeError(`chunk of ${name} is [${entry.dims}]`);
      for (let start = 0; start < rows.length; ) {
        let end = start + 1;
        while (end < rows.length && rows[end] === (rows[end - 1] as number) + 1) end += 1;
        const position = entry.start + (rows[start] as number) * d * FLOAT_BYTES;
        await readFully(file, into.subarray(start * d * FLOAT_BYTES, end * d * FLOAT_BYTES), position);
        start = end;
      }
    } finally {
      await file.close();
    }
  }

  private async entry(chunk: number, name: string, file: FileHandle): Promise<SafetensorsEntry> {
    let header = this.headers.get(chunk);
    if (header === undefined) {
      header = readSafetensorsHeader(async (start, end) => {
        const bytes = new Uint8Array(end - start);
        await readFully(file, bytes, start);
        return bytes;
      }).then(({ entries }) => entries);
      this.headers.set(chunk, header);
    }
    const entry = (await header).get(name);
    if (entry === undefined || entry.type !== 'float32') {
      throw new NibbleflowError('MissingArtifact', `the stored features have no ${name}`, {
        where: this.refs[chunk]?.digest,
      });
    }
    return entry;
  }
}

/** Fills `into` from `position` on. Throws MissingArtifact when the file ends before. */
export async function readFully(file: FileHandle, into: Uint8Array, position: number): Promise<void> {
  let done = 0;
  while (done < into.byteLength) {
    const { bytesRead } = await file.read(into, done, into.byteLength - done, position + done);
    if (bytesRead === 0) throw new NibbleflowError('MissingArtifact', 'a stored artifact ends too early');
    done += bytesRead;
  }
}
