import { existsSync, readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { NibbleflowError } from '../../../contracts/errors.js';
import { sourceOfBytes } from '../../../models/archives/byte-source.js';
import { float32FromFloat16 } from '../../../models/tensors/float16.js';
import { safetensorsChunks } from '../../../models/tensors/safetensors.js';
import { float32, type Tensor } from '../../../models/tensors/tensor.js';
import { readTorchWeights } from '../../../models/weights/read-torch-weights.js';
import {
  dict,
  floats,
  global,
  integer,
  opcodes,
  pickle,
  tensorCall,
  text,
  torchArchive,
  tuple,
} from './torch-files.js';

const GOLDEN = new URL('../../golden/inception/', import.meta.url);
const golden = (name: string): Uint8Array => new Uint8Array(readFileSync(new URL(name, GOLDEN)));
const read = (bytes: Uint8Array): Promise<Map<string, Tensor>> => readTorchWeights(sourceOfBytes(bytes), 'some.pth');

interface Expected {
  readonly shape: readonly number[];
  readonly dtype: string;
  readonly values: readonly number[];
}
const TINY = JSON.parse(new TextDecoder().decode(golden('tiny.json'))) as Record<string, Expected>;

function numbersOf(value: Tensor): number[] {
  if (value.type === 'float16') return [...float32FromFloat16(value as Tensor<'float16'>).data];
  return Array.from(value.data as Float32Array, Number);
}

async function refusal(bytes: Uint8Array): Promise<string> {
  const outcome = await read(bytes).catch((error: unknown) => error);
  expect(outcome).toBeInstanceOf(NibbleflowError);
  expect((outcome as NibbleflowError).kind).toBe('InvalidInput');
  expect((outcome as NibbleflowError).where).toBe('some.pth');
  return String(outcome);
}

/** A state dict of one tensor. */
const single = (call: number[]): number[] => pickle(dict(['w', call]));
const SIX = floats(0, 1, 2, 3, 4, 5);

describe('weights that torch saved', () => {
  it.each(['tiny_zip.pth', 'tiny_legacy.pth'])('are read exactly: %s', async (file) => {
    const tensors = await read(golden(file));
    expect([...tensors.keys()]).toEqual(Object.keys(TINY));
    for (const [name, { shape, dtype, values }] of Object.entries(TINY)) {
      const found = tensors.get(name) as Tensor;
      expect([name, found.type, found.dims]).toEqual([name, dtype.replace('torch.', ''), shape]);
      expect(numbersOf(found)).toEqual(values);
    }
  });

  it.each(['must_be_refused_zip.pth', 'must_be_refused_legacy.pth'])(
    'are refused when they call a function, which is not executed: %s',
    async (file) => {
      expect(await refusal(golden(file))).toMatch(
        /asks for "posix\.mkdir", which no plain tensor needs: nothing was executed/,
      );
      expect(existsSync('executed-by-pickle')).toBe(false);
    },
  );

  it('are views of the file where they are contiguous', async () => {
    const bytes = golden('tiny_legacy.pth');
    const whole = new Uint8Array(bytes.byteLength + 8);
    let views = 0;
    for (const shift of [0, 1, 2, 3]) {
      whole.set(bytes, shift);
      const tensors = await read(whole.subarray(shift, shift + bytes.byteLength));
      if (tensors.get('bn.running_var')?.data.buffer === whole.buffer) views += 1;
    }
    expect(views).toBe(1); // at the one place where its four bytes are aligned
  });

  it('are gathered from any strides and offsets', async () => {
    const view = tensorCall({ dims: [2, 2], strides: [1, 2], offset: 1, length: 6 });
    expect(numbersOf((await read(torchArchive(single(view), { 0: SIX }))).get('w') as Tensor)).toEqual([1, 3, 2, 4]);
    const empty = tensorCall({ dims: [0, 3], strides: [7, 1], length: 6 });
    expect((await read(torchArchive(single(empty), { 0: SIX }))).get('w')).toEqual(float32([0, 3], []));
  });

  it('of bfloat16 are widened exactly', async () => {
    const call = tensorCall({ dims: [2], strides: [1], type: 'BFloat16Storage', length: 2 });
    const halves = new Uint8Array(Uint16Array.of(0x3f80, 0xc049).buffer);
    expect((await read(torchArchive(single(call), { 0: halves }))).get('w')).toEqual(float32([2], [1, -3.140625]));
  });

  it('are read from ordered dictionaries that Python 2 wrote', async () => {
    const data = tensorCall({ dims: [2], strides: [1], offset: 1, length: 6 });
    const pairs = [0x5d, 0x28, 0x5d, 0x28, 0x55, 1, 0x77, ...data, 0x65, ...tuple(text('v'), data), 0x65];
    const made = [...global('collections', 'OrderedDict'), ...pairs, 0x85, 0x52];
    const tensors = await read(torchArchive(pickle(made), { 0: SIX }));
    expect([...tensors].map(([name, value]) => [name, numbersOf(value)])).toEqual([
      ['w', [1, 2]],
      ['v', [1, 2]],
    ]);
    const odd = [...global('collections', 'OrderedDict'), 0x5d, 0x4e, 0x61, 0x85, 0x52];
    expect(await refusal(torchArchive(pickle(odd)))).toMatch(/builds a dictionary in an unknown way/);
  });

  it('are read as parameters, and with the state of an ordered dictionary', async () => {
    const data = tensorCall({ dims: [1], strides: [1], length: 6 });
    const parameter = [...global('torch._utils', '_rebuild_parameter'), ...tuple(data, [0x88], [0x4e]), 0x52];
    const state = [...dict(['w', parameter]), ...dict(['_metadata', [0x7d]]), 0x62];
    expect(numbersOf((await read(torchArchive(pickle(state), { 0: SIX }))).get('w') as Tensor)).toEqual([0]);
  });
});

describe('files that are no weights', () => {
  const honest = golden('tiny_zip.pth');
  const legacy = golden('tiny_legacy.pth');
  const utf8 = (content: string): Uint8Array => new TextEncoder().encode(content);
  const shaped = (dims: number[], strides: number[], more = {}): Uint8Array =>
    torchArchive(single(tensorCall({ dims, strides, length: 6, ...more })), { 0: SIX });
  const bigEndian = legacy.slice();
  bigEndian[bigEndian.indexOf(0x88)] = 0x89;
  const safetensors = Buffer.concat([...safetensorsChunks(new Map([['a', float32([1], [1])]]))]);

  it.each<[string, Uint8Array, RegExp]>([
    ['nothing', new Uint8Array(0), /is empty/],
    ['a web page', utf8('\n<!DOCTYPE html>\n<html><head></head></html>'), /web page, probably an error page/],
    ['a Git LFS pointer', utf8('version https://git-lfs.github.com/spec/v1\noid sha256:6726'), /Git LFS pointer/],
    ['an error in JSON', utf8('{"error": "not found"}'), /a JSON text/],
    ['a safetensors file', safetensors, /a safetensors file/],
    ['any other bytes', Uint8Array.of(1, 2, 3, 4), /not one that torch\.save wrote/],
    ['half of a zip file', honest.slice(0, 1500), /its end is missing/],
    ['half of a legacy file', legacy.slice(0, 900), /is truncated in storage "\d+"/],
    ['the start of a legacy file', legacy.slice(0, 300), /is truncated: a pickle ends within/],
    ['a legacy file of a big-endian machine', bigEndian, /big-endian/],
    [
      'a zip file of a big-endian machine',
      torchArchive(single(tensorCall({ dims: [6], strides: [1], length: 6 })), { 0: SIX }, { byteorder: utf8('big') }),
      /big-endian/,
    ],
    ['a zip file of something else', torchArchive([], {}, {}).slice(0), /is truncated: a pickle ends within/],
    ['TorchScript', torchArchive(pickle([0x7d]), {}, { 'constants.pkl': SIX }), /TorchScript program/],
    ['a pickled list', Uint8Array.from(pickle([0x5d])), /a pickle, but not one of torch\.save/],
    ['a list in an archive', torchArchive(pickle([0x5d])), /holds a list instead of tensors by name/],
    [
      'a tensor alone',
      torchArchive(pickle(tensorCall({ dims: [6], strides: [1], length: 6 }))),
      /holds a tensor instead of tensors by name/,
    ],
    ['a dictionary without tensors', torchArchive(pickle([0x7d])), /holds no tensors/],
    [
      'a whole checkpoint',
      torchArchive(pickle(dict(['epoch', integer(3)]))),
      /holds a number in "epoch"[\s\S]*state_dict\(\)/,
    ],
    [
      'a whole model',
      torchArchive(pickle(global('torch.nn.modules.conv', 'Conv2d'))),
      /asks for "torch\.nn\.modules\.conv\.Conv2d"/,
    ],
    [
      'a call by another opcode',
      torchArchive(pickle([...text('os'), ...text('system'), 0x93])),
      /asks for "os\.system"/,
    ],
    ['an object of a class', torchArchive(pickle([...global('collections', 'OrderedDict'), 0x29, 0x81])), /opcode 129/],
    ['a call of a text', torchArchive(pickle([...text('x'), 0x29, 0x52])), /calls a text/],
    [
      'a changed global',
      torchArchive(pickle([...global('collections', 'OrderedDict'), 0x7d, 0x62])),
      /changes collections\.OrderedDict from within/,
    ],
    [
      'missing numbers',
      torchArchive(single(tensorCall({ dims: [6], strides: [1], length: 6 }))),
      /misses the numbers of storage "0"/,
    ],
    [
      'another number of numbers',
      torchArchive(single(tensorCall({ dims: [5], strides: [1], length: 5 })), { 0: SIX }),
      /contradicts itself about the length/,
    ],
    ['dims beyond the storage', shaped([7], [1]), /"w" is \[7\], which reaches outside its 6 stored elements/],
    ['absurd dims', shaped([2 ** 40, 2 ** 40, 2 ** 40], [1, 1, 1]), /reaches outside/],
    ['dims that repeat elements', shaped([1e9], [0]), /reaches outside/],
    ['an offset outside', shaped([1], [1], { offset: 6 }), /reaches outside/],
    ['an offset outside of nothing', shaped([0], [1], { offset: 2 ** 50 }), /reaches outside/],
    ['strides that leap outside', shaped([2, 2], [2 ** 52, 1]), /reaches outside/],
    ['negative dims', shaped([-1], [1]), /without a storage, dims and strides/],
    ['more dims than any tensor', shaped(Array(40).fill(1), Array(40).fill(1)), /40 dims/],
    ['a memo that was never written', torchArchive(pickle([0x68, 5])), /broken pickle/],
    ['a memo of a billion', torchArchive(pickle([0x4e, 0x72, 255, 255, 255, 255])), /broken pickle/],
    ['an integer of a megabyte', torchArchive(pickle([0x8b, 0, 0, 16, 0, ...Array(2 ** 20).fill(1)])), /broken pickle/],
    [
      'names with control characters',
      torchArchive(pickle(opcodes('c', 'a\u001b[2J', '\n', 'b', '\n'))),
      /"a\\u001b\[2J\.b"/,
    ],
  ])('are refused with what they are: %s', async (_, bytes, message) => {
    expect(await refusal(bytes)).toMatch(message);
  });

  it('are refused when they nest without end, whether opened or closed', async () => {
    const depth = 200_000;
    const nested = torchArchive([0x80, 2, ...Array(depth).fill(0x5d), ...Array(depth - 1).fill(0x61), 0x2e]);
    expect(await refusal(nested)).toMatch(/holds a list instead of tensors/);
    expect(await refusal(torchArchive([0x80, 2, ...Array(depth).fill(0x28), 0x2e]))).toMatch(/broken pickle/);
  });

  it('are refused when they double a list of lists again and again', async () => {
    const doubling = Array.from({ length: 60 }, () => [0x32, 0x86]).flat();
    expect(await refusal(torchArchive(pickle(text('lol'), doubling)))).toMatch(/holds a tuple instead of tensors/);
  });

  it('are refused when a name is anything but a text, however large it grows when written down', async () => {
    const doubled = Array.from({ length: 23 }, () => [0x32, 0x86]); // DUP, TUPLE2
    expect(await refusal(torchArchive(pickle(integer(1), doubled.flat(), text('name'), [0x93])))).toMatch(
      /broken pickle/,
    );
  });

  it('of random opcodes are read or refused, too', { timeout: 60_000 }, async () => {
    const code = fc.constantFrom(
      ...'(02N\x88\x89]}).auqhtReb\x85\x86\x87\x94\x93Q'.split('').map((one) => one.charCodeAt(0)),
    );
    const piece = fc.oneof(
      { weight: 6, arbitrary: code.map((one) => [one]) },
      fc.nat(5).map((index) => [0x68, index]),
      fc.nat(5).map((index) => [0x71, index]),
      fc.constantFrom('storage', 'w', '0', 'cpu').map(text),
      fc.nat(9).map(integer),
      fc.constantFrom('FloatStorage', 'LongStorage').map((name) => global('torch', name)),
      fc.constantFrom('_rebuild_tensor_v2', '_rebuild_parameter').map((name) => global('torch._utils', name)),
      fc.constant(tensorCall({ dims: [2, 3], strides: [1, 2], length: 6 })),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(piece, { maxLength: 40 }), async (pieces) => {
        const outcome = await read(torchArchive(single(pieces.flat()), { 0: SIX })).catch((error: unknown) => error);
        expect(outcome instanceof Map || outcome instanceof NibbleflowError).toBe(true);
      }),
      { seed: 3, numRuns: 3000 },
    );
  });

  it.each([
    ['zip', honest],
    ['legacy', legacy],
  ])('or damaged ones end in a message, whatever bytes changed: %s', { timeout: 60_000 }, async (_, whole) => {
    const edits = fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { minLength: 1, maxLength: 6 });
    await fc.assert(
      fc.asyncProperty(edits, fc.option(fc.nat(whole.length), { freq: 5 }), async (changes, cut) => {
        const bytes = whole.slice(0, cut ?? whole.length);
        for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
        const outcome = await read(bytes).catch((error: unknown) => error);
        expect(outcome instanceof Map || outcome instanceof NibbleflowError).toBe(true);
      }),
      { seed: 2, numRuns: 2000 },
    );
  });
});
