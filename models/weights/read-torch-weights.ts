import { NibbleflowError } from '../../contracts/errors.js';
import type { ByteSource } from '../archives/byte-source.js';
import { quoted } from '../archives/quoted.js';
import { readZipEntry } from '../archives/read-zip-entry.js';
import { looksLikeZip, readZipDirectory, type ZipEntry } from '../archives/zip-directory.js';
import type { Tensor } from '../tensors/tensor.js';
import { describeForeignFile } from './foreign-file.js';
import { invalidWeights, kindOfValue, PickleDict, PickleList, type PickleValue } from './pickle-values.js';
import { readPickle } from './read-pickle.js';
import { materializeTensor, type TorchStorage, TorchTensor, torchWorld } from './torch-tensors.js';

/**
 * State dicts in torch's two file formats: the zip archive of torch ≥ 1.6 (data.pkl and one file per storage) and the row of
 * pickles before it. Nothing of the file is executed. Layout as in torch/serialization.py.
 */

const PICKLE_FILE = 'data.pkl';
const LARGEST_PICKLE = 64 * 2 ** 20;
/** Weights are read into memory. */
const LARGEST_FILE = 2 ** 31 - 1;
const HEAD = 512;
/** What the row of pickles starts with, and its version. */
const MAGIC = 0x1950a86a20f9469cfc6cn;
const PROTOCOL = 1001;
const PROTOCOL_OPCODE = 0x80;

/**
 * Every tensor of a state dict by name, in the file's order; bfloat16 is widened to float32. Data are views of the file's bytes
 * where they can be.
 * @param where the file, for messages
 * @throws NibbleflowError InvalidInput, naming what the file is, for anything but a state dict of dense tensors
 */
export async function readTorchWeights(source: ByteSource, where?: string): Promise<Map<string, Tensor>> {
  try {
    if (source.size > LARGEST_FILE) throw invalidWeights(`has ${source.size} bytes, at most ${LARGEST_FILE} are read`);
    const head = await source.read(0, Math.min(HEAD, source.size));
    if (looksLikeZip(head)) return await readArchive(source, where);
    if (head[0] === PROTOCOL_OPCODE) return readRowOfPickles(await source.read(0, source.size));
    throw invalidWeights(`is ${describeForeignFile(head) ?? 'not one that torch.save wrote'}`);
  } catch (error) {
    throw error instanceof NibbleflowError && error.where === undefined && where !== undefined
      ? new NibbleflowError(error.kind, error.message.split('\n')[0] ?? '', { where, fix: error.fix, cause: error })
      : error;
  }
}

async function readArchive(source: ByteSource, where?: string): Promise<Map<string, Tensor>> {
  const entries = await readZipDirectory(source, where);
  const names = [...entries.keys()].filter((name) => name === PICKLE_FILE || name.endsWith(`/${PICKLE_FILE}`));
  const [pickleName] = names;
  if (pickleName === undefined || names.length > 1) throw invalidWeights('is a zip archive without weights in it');
  const folder = pickleName.slice(0, -PICKLE_FILE.length);
  if (entries.has(`${folder}constants.pkl`)) throw invalidWeights('is a TorchScript program, not a state dict');
  const read = (entry: ZipEntry, maxBytes: number): Promise<Uint8Array> =>
    readZipEntry(source, entry, { where, maxBytes });
  const order = entries.get(`${folder}byteorder`);
  if (order !== undefined && new TextDecoder().decode(await read(order, 16)) !== 'little') throw bigEndian();
  const seen = new Map<string, TorchStorage>();
  const pickle = await read(entries.get(pickleName) as ZipEntry, LARGEST_PICKLE);
  const { value } = readPickle(pickle, 0, torchWorld(seen));
  const views = viewsOf(value);
  const total = [...seen.values()].reduce((sum, { length, elementSize }) => sum + length * elementSize, 0);
  if (total > LARGEST_FILE) throw invalidWeights(`unfolds to more than ${LARGEST_FILE} bytes`);
  const stored = new Map<string, Uint8Array>();
  for (const [key, storage] of seen) {
    const entry = entries.get(`${folder}data/${key}`);
    if (entry === undefined) throw invalidWeights(`misses the numbers of storage ${quoted(key)}`);
    checkLength(storage, entry.size);
    stored.set(key, await read(entry, LARGEST_FILE));
  }
  return materialized(views, stored);
}

/** Magic number, version, facts about the writer, the state dict, keys of storages, then each storage with its length. */
function readRowOfPickles(bytes: Uint8Array): Map<string, Tensor> {
  const seen = new Map<string, TorchStorage>();
  const world = torchWorld(seen);
  const magic = readPickle(bytes, 0, world);
  if (magic.value !== MAGIC) throw invalidWeights('is a pickle, but not one of torch.save');
  const version = readPickle(bytes, magic.end, world);
  if (version.value !== PROTOCOL) throw invalidWeights('has an unknown version');
  const facts = readPickle(bytes, version.end, world);
  const little = facts.value instanceof PickleDict ? facts.value.entries.get('little_endian') : undefined;
  if (little !== true) throw bigEndian();
  const state = readPickle(bytes, facts.end, world);
  const views = viewsOf(state.value);
  const keys = readPickle(bytes, state.end, world);
  if (!(keys.value instanceof PickleList)) throw invalidWeights('has no list of storages');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const stored = new Map<string, Uint8Array>();
  let at = keys.end;
  for (const key of keys.value.items) {
    const storage = typeof key === 'string' ? seen.get(key) : undefined;
    if (storage === undefined) throw invalidWeights('lists a storage that no tensor has');
    if (at + 8 > bytes.byteLength) throw invalidWeights(`is truncated before storage ${quoted(storage.key)}`);
    const start = at + 8;
    at = start + Number(view.getBigUint64(at, true)) * storage.elementSize;
    if (at > bytes.byteLength) throw invalidWeights(`is truncated in storage ${quoted(storage.key)}`);
    checkLength(storage, at - start);
    stored.set(storage.key, bytes.subarray(start, at));
  }
  return materialized(views, stored);
}

function viewsOf(value: PickleValue): Map<string, TorchTensor> {
  if (!(value instanceof PickleDict)) throw invalidWeights(`holds ${kindOfValue(value)} instead of tensors by name`);
  const views = new Map<string, TorchTensor>();
  for (const [name, held] of value.entries) {
    if (typeof name !== 'string' || !(held instanceof TorchTensor)) {
      const what = typeof name === 'string' ? `in ${quoted(name)}` : 'without a name';
      throw invalidWeights(`holds ${kindOfValue(held)} ${what}, not tensors by name`, {
        fix: 'Save the state dict alone: torch.save(model.state_dict(), file).',
      });
    }
    views.set(name, held);
  }
  if (views.size === 0) throw invalidWeights('holds no tensors');
  return views;
}

function checkLength({ key, length, elementSize }: TorchStorage, bytes: number): void {
  if (bytes === length * elementSize) return;
  throw invalidWeights(`contradicts itself about the length of storage ${quoted(key)}`);
}

function materialized(views: Map<string, TorchTensor>, stored: Map<string, Uint8Array>): Map<string, Tensor> {
  const tensors = new Map<string, Tensor>();
  const known = new Map<TorchTensor, Tensor>();
  let bytesHeld = 0;
  for (const [name, view] of views) {
    const bytes = stored.get(view.storage.key);
    if (bytes === undefined) throw invalidWeights(`misses the numbers of ${quoted(name)}`);
    const tensor = known.get(view) ?? materializeTensor(name, view, bytes);
    if (!known.has(view)) bytesHeld += tensor.data.byteLength;
    if (bytesHeld > LARGEST_FILE) throw invalidWeights(`unfolds to more than ${LARGEST_FILE} bytes`);
    known.set(view, tensor);
    tensors.set(name, tensor);
  }
  return tensors;
}

function bigEndian(): Error {
  return invalidWeights('was written on a big-endian machine; little-endian ones are read');
}
