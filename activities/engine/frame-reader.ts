import { type Frame, parseHead } from './protocol.js';

/** Assembles frames from a stream's chunks; every blob gets an ArrayBuffer of its own. */
export class FrameReader<Header> {
  private readonly prefix = new Uint8Array(4);
  private json: Uint8Array | undefined;
  private header: Header | undefined;
  private blobs: Uint8Array[] = [];
  private blobIndex = 0;
  /** The buffer being filled, and how far it is. */
  private target: Uint8Array = this.prefix;
  private filled = 0;

  constructor(private readonly onFrame: (frame: Frame<Header>) => void) {}

  /** Consumes a chunk; calls `onFrame` for every frame it completes. */
  push(chunk: Uint8Array): void {
    let offset = 0;
    while (offset < chunk.byteLength) {
      const count = Math.min(this.target.byteLength - this.filled, chunk.byteLength - offset);
      this.target.set(chunk.subarray(offset, offset + count), this.filled);
      this.filled += count;
      offset += count;
      if (this.filled === this.target.byteLength) this.advance();
    }
  }

  /** The target is full: chooses the next buffer to fill. */
  private advance(): void {
    this.filled = 0;
    if (this.target === this.prefix) {
      this.json = new Uint8Array(Buffer.from(this.prefix).readUInt32LE(0));
      this.target = this.json;
    } else if (this.target === this.json) {
      const head = parseHead<Header>(this.json);
      this.header = head.header;
      this.blobs = head.blobs.map((size) => new Uint8Array(size));
      this.blobIndex = 0;
      this.nextBlob();
    } else {
      this.blobIndex += 1;
      this.nextBlob();
    }
  }

  /** Aims at the next blob that has bytes, or hands the finished frame over. */
  private nextBlob(): void {
    while (this.blobs[this.blobIndex]?.byteLength === 0) this.blobIndex += 1;
    const blob = this.blobs[this.blobIndex];
    if (blob !== undefined) {
      this.target = blob;
      return;
    }
    const frame = { header: this.header as Header, blobs: this.blobs };
    this.target = this.prefix;
    this.json = undefined;
    this.blobs = [];
    this.onFrame(frame);
  }
}
