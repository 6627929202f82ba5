import { open } from 'node:fs/promises';
import { NibbleflowError } from '../contracts/errors.js';
import type { ByteSource } from '../models/archives/byte-source.js';

/** A file whose bytes are read when they are asked for. */
export interface FileSource extends ByteSource {
  close(): Promise<void>;
}

/** Opens a file for reading. Throws InvalidInput when it is not there, not a file, or may not be read. */
export async function openFileSource(path: string): Promise<FileSource> {
  const handle = await open(path, 'r').catch((error: NodeJS.ErrnoException) => {
    const what = error.code === 'ENOENT' ? 'the file does not exist' : `the file cannot be read: ${error.code}`;
    throw new NibbleflowError('InvalidInput', what, { where: path, cause: error });
  });
  const found = await handle.stat();
  if (!found.isFile()) {
    await handle.close();
    throw new NibbleflowError('InvalidInput', 'this is not a file', { where: path });
  }
  return {
    size: found.size,
    read: async (start, end) => {
      const bytes = new Uint8Array(end - start);
      let offset = 0;
      while (offset < bytes.byteLength) {
        const { bytesRead } = await handle.read(bytes, offset, bytes.byteLength - offset, start + offset);
        if (bytesRead === 0) throw new NibbleflowError('InvalidInput', 'the file became shorter', { where: path });
        offset += bytesRead;
      }
      return bytes;
    },
    close: () => handle.close(),
  };
}
