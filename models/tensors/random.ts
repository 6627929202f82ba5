import { elementCount, type Float32Tensor, float32 } from './tensor.js';

/**
 * Reproducible random numbers: Philox4x32-10, the counter-based generator of Salmon, Moraes, Dror and Shaw, "Parallel random
 * numbers: as easy as 1, 2, 3" (SC 2011). A block of four 32-bit words is a pure function of a 64-bit key and a 128-bit
 * counter, so any part of any stream can be computed alone, in any order, on any machine, with the same bits.
 *
 * Layout: key = seed (low word, high word); counter = (block index, domain, stream low word, stream high word). `domain`
 * keeps uniforms, gaussians and permutations of one (seed, stream) independent of each other.
 *
 * A stream is one consumer's private sequence: the index of an image, a training step, a hash of a name. Values depend on
 * (seed, stream) alone, never on how many other streams are drawn beside it (the batch size).
 */

const MULTIPLIER_0 = 0xd2511f53;
const MULTIPLIER_1 = 0xcd9e8d57;
/** Weyl constants: golden ratio and √3 − 1, times 2³². */
const WEYL_0 = 0x9e3779b9;
const WEYL_1 = 0xbb67ae85;
const ROUNDS = 10;

const DOMAIN = { uniform: 0, gaussian: 1, permutation: 2 } as const;

const TWO_32 = 0x1_0000_0000;

/** Upper 32 bits of the 64-bit product of two unsigned 32-bit integers. */
function mulHigh(a: number, b: number): number {
  const aLow = a & 0xffff;
  const aHigh = a >>> 16;
  const bLow = b & 0xffff;
  const bHigh = b >>> 16;
  const low = aLow * bLow;
  const middle = aHigh * bLow + (low >>> 16);
  const cross = aLow * bHigh + (middle % 0x10000);
  return (aHigh * bHigh + Math.floor(middle / 0x10000) + Math.floor(cross / 0x10000)) >>> 0;
}

/**
 * One block of Philox4x32-10: four unsigned 32-bit words from a counter of four words and a key of two.
 * @param out receives the words; a new array by default
 */
export function philox4x32(
  counter: readonly [number, number, number, number],
  key: readonly [number, number],
  out: Uint32Array = new Uint32Array(4),
): Uint32Array {
  let [c0, c1, c2, c3] = counter;
  let [k0, k1] = key;
  for (let round = 0; round < ROUNDS; round += 1) {
    const high0 = mulHigh(MULTIPLIER_0, c0);
    const low0 = Math.imul(MULTIPLIER_0, c0) >>> 0;
    const high1 = mulHigh(MULTIPLIER_1, c2);
    const low1 = Math.imul(MULTIPLIER_1, c2) >>> 0;
    c0 = (high1 ^ c1 ^ k0) >>> 0;
    c1 = low1;
    c2 = (high0 ^ c3 ^ k1) >>> 0;
    c3 = low0;
    k0 = (k0 + WEYL_0) >>> 0;
    k1 = (k1 + WEYL_1) >>> 0;
  }
  out[0] = c0;
  out[1] = c1;
  out[2] = c2;
  out[3] = c3;
  return out;
}

/**
 * `count` doubles of one stream, the midpoints (k + ½)·2⁻⁵² of 2⁵² equal cells of (0, 1), so that neither 0 nor 1
 * occurs. Element i is the same whatever `count` is.
 * @throws RangeError when seed or stream is no integer in 0…2⁵³−1
 */
export function uniforms(seed: number, stream: number, count: number): Float64Array {
  return domainUniforms(seed, stream, count, DOMAIN.uniform);
}

function domainUniforms(seed: number, stream: number, count: number, domain: number): Float64Array {
  const key = words(seed, 'seed');
  const [streamLow, streamHigh] = words(stream, 'stream');
  const values = new Float64Array(count);
  const block = new Uint32Array(4);
  for (let i = 0; i < count; i += 2) {
    philox4x32([(i / 2) >>> 0, domain, streamLow, streamHigh], key, block);
    values[i] = unitInterval(block[0] ?? 0, block[1] ?? 0);
    if (i + 1 < count) values[i + 1] = unitInterval(block[2] ?? 0, block[3] ?? 0);
  }
  return values;
}

/** 52 bits of two words, as the midpoint of its cell: (k + ½)·2⁻⁵², exact in a double. */
function unitInterval(low: number, high: number): number {
  return ((high >>> 6) * 0x400_0000 + (low >>> 6) + 0.5) * 2 ** -52;
}

function words(value: number, what: string): readonly [number, number] {
  if (!Number.isSafeInteger(value) || value < 0) {
    throw new RangeError(`${what} must be an integer from 0 to 2^53 - 1, got ${value}`);
  }
  return [value % TWO_32, Math.floor(value / TWO_32)];
}

/**
 * Unit normal numbers of one stream: Box–Muller, r = √(−2 ln u₁), (r cos 2πu₂, r sin 2πu₂), in doubles, rounded to float32
 * at the end. V8 computes log, sin and cos in software (fdlibm), so the bits are the same on every machine. Element i is the same whatever the other dims are, as long as i is.
 * @param seed,stream integers in 0…2⁵³−1; see the head of the file
 * @returns float32 [dims]
 */
export function gaussianTensor(seed: number, stream: number, dims: readonly number[]): Float32Tensor {
  const count = elementCount(dims);
  const uniform = domainUniforms(seed, stream, count + (count % 2), DOMAIN.gaussian);
  const values = new Float32Array(count);
  for (let i = 0; i < count; i += 2) {
    const radius = Math.sqrt(-2 * Math.log(uniform[i] ?? 0));
    const angle = 2 * Math.PI * (uniform[i + 1] ?? 0);
    values[i] = radius * Math.cos(angle);
    if (i + 1 < count) values[i + 1] = radius * Math.sin(angle);
  }
  return float32(dims, values);
}

/**
 * Unit normal numbers for a batch: row i is `gaussianTensor(seed, streams[i], rowDims)`, so that an image's noise does not
 * depend on the batch it is sampled in.
 * @returns float32 [streams.length, ...rowDims]
 */
export function gaussianRows(seed: number, streams: readonly number[], rowDims: readonly number[]): Float32Tensor {
  const rowSize = elementCount(rowDims);
  const values = new Float32Array(streams.length * rowSize);
  for (const [row, stream] of streams.entries()) {
    values.set(gaussianTensor(seed, stream, rowDims).data, row * rowSize);
  }
  return float32([streams.length, ...rowDims], values);
}

/**
 * A random order of 0…n−1: Fisher–Yates, from the last position down, each partner drawn without bias (rejection).
 * @returns uint32 [n], every integer below n once
 */
export function permutation(seed: number, stream: number, n: number): Uint32Array {
  const order = Uint32Array.from({ length: n }, (_, i) => i);
  const nextWord = wordSource(seed, stream);
  for (let last = n - 1; last > 0; last -= 1) {
    const partner = below(last + 1, nextWord);
    const kept = order[last] ?? 0;
    order[last] = order[partner] ?? 0;
    order[partner] = kept;
  }
  return order;
}

function wordSource(seed: number, stream: number): () => number {
  const key = words(seed, 'seed');
  const [streamLow, streamHigh] = words(stream, 'stream');
  const block = new Uint32Array(4);
  let used = 0;
  return () => {
    if (used % 4 === 0) philox4x32([used / 4, DOMAIN.permutation, streamLow, streamHigh], key, block);
    const word = block[used % 4] ?? 0;
    used += 1;
    return word;
  };
}

/** A uniform integer in 0…limit−1; words in the last, incomplete cycle of `limit` are drawn again. */
function below(limit: number, nextWord: () => number): number {
  const accepted = TWO_32 - (TWO_32 % limit);
  for (;;) {
    const word = nextWord();
    if (word < accepted) return word % limit;
  }
}
