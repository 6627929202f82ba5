import { extname } from 'node:path';
import { NibbleflowError } from '../contracts/errors.js';
import { npzOfStatistics, readNpzStatistics } from '../evaluation/statistics/npz-statistics.js';
import type { ReferenceStatistics } from '../evaluation/statistics/reference-statistics.js';
import {
  type OwnStatistics,
  ownStatisticsChunks,
  readOwnStatistics,
} from '../evaluation/statistics/statistics-format.js';
import { looksLikeZip } from '../models/archives/zip-directory.js';
import { openFileSource } from './file-source.js';
import { atomicWrite } from './store/atomic-write.js';

/** Formats by the extension of the file that is written; what is read is told by its bytes. */
export const STATISTICS_EXTENSIONS = ['.npz', '.safetensors'] as const;

/** A statistics file whose rows, if it has any, are read when they are asked for. */
export interface OpenStatistics {
  readonly statistics: ReferenceStatistics;
  close(): Promise<void>;
}

/** Opens a statistics file of either format. Throws InvalidInput, naming the file, for everything else. */
export async function openStatisticsFile(path: string): Promise<OpenStatistics> {
  const source = await openFileSource(path);
  try {
    const head = await source.read(0, Math.min(4, source.size));
    if (head.byteLength === 0)
      throw new NibbleflowError('InvalidInput', 'the statistics file is empty', { where: path });
    const statistics = looksLikeZip(head)
      ? await readNpzStatistics(source, path)
      : await readOwnStatistics(source, path);
    return { statistics, close: () => source.close() };
  } catch (error) {
    await source.close();
    throw error;
  }
}

/**
 * Writes statistics in the format that the extension names, whole or not at all. An .npz holds mean and covariance only.
 * Throws InvalidInput for other extensions, DiskFull or OutputNotWritable.
 */
export async function writeStatisticsFile(path: string, statistics: OwnStatistics): Promise<void> {
  const npz = checkStatisticsExtension(path) === '.npz';
  await atomicWrite(path, npz ? [npzOfStatistics(statistics)] : ownStatisticsChunks(statistics));
}

/** The extension of a statistics file that is to be written. Throws InvalidInput for unknown ones. */
export function checkStatisticsExtension(path: string): (typeof STATISTICS_EXTENSIONS)[number] {
  const extension = STATISTICS_EXTENSIONS.find((known) => known === extname(path).toLowerCase());
  if (extension !== undefined) return extension;
  throw new NibbleflowError('InvalidInput', 'a statistics file ends in .npz or .safetensors', {
    where: path,
    fix: '.npz is read by pytorch-fid and clean-fid; .safetensors also keeps the origin and, with --features, the rows.',
  });
}
