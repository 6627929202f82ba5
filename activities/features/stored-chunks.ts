import { type FileHandle, open } from 'node:fs/promises';
import type { ArtifactRef } from '../../contracts/artifact.js';
import { NibbleflowError } from '../../contracts/errors.js';
import { readSafetensorsHeader, type SafetensorsEntry } from '../../models/tensors/safetensors.js';
import type { LocalStore } from '../store/local-store.js';

const FLOAT_BYTES = 4;
/** Bytes between two wanted rows that are read and thrown away: a read costs about as much as copying them. */
const SKIPPED_BYTES = 2 ** 16;

/** A row of a chunk, and where it goes. */
interface PlacedRow {
  readonly row: number;
  readonly place: number;
}

/** Runs of ascending rows with at most `gap` others between two of them. */
function neighbours(rows: readonly PlacedRow[], gap: number): PlacedRow[][] {
  const runs: PlacedRow[][] = [];
  let before: PlacedRow | undefined;
  for (const row of rows) {
    if (before === undefined || row.row - before.row > gap + 1) runs.push([row]);
    else runs.at(-1)?.push(row);
    before = row;
  }
  return runs;
}

/** Rows of float32 tensors in several safetensors artifacts, read where they lie: nothing of them stays in memory. */
export class StoredChunks {
  private readonly headers = new Map<number, Promise<Map<string, SafetensorsEntry>>>();

  constructor(
    private readonly store: LocalStore,
    private readonly refs: readonly ArtifactRef[],
  ) {}

  /**
   * Gathers rows of width `d` of tensor `name`: row i of the result is row `rowOf[i]` of chunk `chunkOf[i]`. Sets of many shards
   * have their rows all over the chunks: each chunk is opened once, and rows that lie near each other are read at once. Throws
   * MissingArtifact when a chunk is gone or damaged.
   */
  async read(name: string, d: number, chunkOf: Uint32Array, rowOf: Uint32Array): Promise<Float32Array> {
    const result = new Float32Array(chunkOf.length * d);
    const wanted = new Map<number, number[]>();
    for (const [place, chunk] of chunkOf.entries()) {
      const places = wanted.get(chunk);
      if (places === undefined) wanted.set(chunk, [place]);
      else places.push(place);
    }
    for (const [chunk, places] of wanted) {
      const rows = places
        .map((place) => ({ row: rowOf[place] as number, place }))
        .sort((a, b) => a.row - b.row || a.place - b.place);
      await this.readChunk(chunk, name, d, rows, result);
    }
    return result;
  }

  private async readChunk(
    chunk: number,
    name: string,
    d: number,
    rows: readonly PlacedRow[],
    into: Float32Array,
  ): Promise<void> {
    const file = await open(await this.store.path(this.refs[chunk] as ArtifactRef), 'r');
    try {
      const entry = await this.entry(chunk, name, file);
      if (entry.dims.length !== 2 || entry.dims[1] !== d) throw new RangeError(`chunk of ${name} is [${entry.dims}]`);
      for (const near of neighbours(rows, Math.floor(SKIPPED_BYTES / (d * FLOAT_BYTES)))) {
        const [first, last] = [near[0]?.row ?? 0, near.at(-1)?.row ?? 0];
        const span = new Float32Array((last - first + 1) * d);
        await readFully(file, new Uint8Array(span.buffer), entry.start + first * d * FLOAT_BYTES);
        for (const { row, place } of near) into.set(span.subarray((row - first) * d, (row - first + 1) * d), place * d);
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
