import { zipSync } from 'fflate';
import { NibbleflowError } from '../../contracts/errors.js';
import type { ByteSource } from '../archives/byte-source.js';
import { readZipEntry } from '../archives/read-zip-entry.js';
import { readZipDirectory } from '../archives/zip-directory.js';
import { npyFromTensor, tensorFromNpy } from './npy.js';
import type { Tensor } from './tensor.js';

/**
 * NumPy's .npz: a zip archive with one .npy per array, stored or deflated.
 * https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
 */

/** Local time, so that the bytes do not depend on the time zone; the earliest day that zip archives know. */
const WRITTEN_AT = '1980-01-01T00:00:00';

/** Arrays of an .npz that are read when somebody asks for them. */
export interface NpzArrays {
  readonly names: readonly string[];
  /** One array. Throws InvalidInput when there is none, it is damaged, or holds Python objects. */
  read(name: string): Promise<Tensor>;
}

/**
 * Opens an .npz; reads its list of files only. Arrays of Python objects (pickles) are refused, nothing is executed.
 * @param where the file, for messages
 * @throws NibbleflowError InvalidInput for files that are no zip archive or are damaged
 */
export async function openNpz(source: ByteSource, where?: string): Promise<NpzArrays> {
  const entries = await readZipDirectory(source, where);
  const names = [...entries.keys()].filter((name) => name.endsWith('.npy')).map((name) => name.slice(0, -4));
  return {
    names,
    read: async (name) => {
      const entry = entries.get(`${name}.npy`);
      if (entry === undefined) throw new NibbleflowError('InvalidInput', `there is no array "${name}"`, { where });
      const bytes = await readZipEntry(source, entry, where === undefined ? {} : { where });
      try {
        return tensorFromNpy(bytes);
      } catch (error) {
        if (!(error instanceof NibbleflowError)) throw error;
        const [what = ''] = error.message.split('\n');
        throw new NibbleflowError('InvalidInput', `array "${name}": ${what}`, { where, cause: error });
      }
    },
  };
}

/** The bytes of an .npz as numpy.savez writes it (stored); equal tensors give equal bytes. */
export function npzFromTensors(tensors: ReadonlyMap<string, Tensor>): Uint8Array {
  const files = [...tensors].map(([name, value]) => [`${name}.npy`, npyFromTensor(value)] as const);
  return zipSync(Object.fromEntries(files), { level: 0, mtime: WRITTEN_AT });
}
