import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { EngineExecutor } from '../../../activities/engine/engine-executor.js';
import type { Resident } from '../../../models/executor.js';
import { gaussianTensor } from '../../../models/tensors/random.js';
import { float32, type Tensor } from '../../../models/tensors/tensor.js';
import { incrementMany, int4Output, matMulChain } from './models.js';

let engine: EngineExecutor;
let folder: string;

beforeAll(async () => {
  engine = await EngineExecutor.start({ device: 'cpu', threads: 1 });
  folder = mkdtempSync(join(tmpdir(), 'nibbleflow-engine-'));
});

afterAll(async () => {
  await engine.close();
  rmSync(folder, { recursive: true });
});

test('a model from memory and the same model from a file give the same outputs', async () => {
  const model = matMulChain(16, 3);
  const path = join(folder, 'chain.onnx');
  writeFileSync(path, model);
  const x = gaussianTensor(1, 0, [16, 16]);
  const fromMemory = await engine.open(model);
  const fromFile = await engine.open({ path });
  expect(fromMemory.inputNames).toEqual(['x']);
  expect(fromMemory.outputNames).toEqual(['y']);
  const a = await fromMemory.run({ x });
  const b = await fromFile.run({ x });
  expect(a.y?.dims).toEqual([16, 16]);
  expect(a.y).toEqual(b.y);
  await fromMemory.release();
  await fromFile.release();
});

test('only the wanted outputs come back', async () => {
  const session = await engine.open(incrementMany(3, [2]));
  const feeds = { x0: float32([2], [0, 1]), x1: float32([2], [10, 11]), x2: float32([2], [20, 21]) };
  expect(await session.run(feeds, ['y1'])).toEqual({ y1: float32([2], [11, 12]) });
  expect(Object.keys(await session.run(feeds))).toEqual(['y0', 'y1', 'y2']);
  await session.release();
});

test('calls that overlap are answered in order', async () => {
  const session = await engine.open(incrementMany(1, [1]));
  const runs = Array.from({ length: 20 }, async (_, i) => (await session.run({ x0: float32([1], [i]) })).y0?.data[0]);
  expect(await Promise.all(runs)).toEqual(Array.from({ length: 20 }, (_, i) => i + 1));
  await session.release();
});

const TENSORS: readonly Tensor[] = [
  { type: 'float32', dims: [2, 2], data: Float32Array.of(1.5, -0, Number.NaN, Number.POSITIVE_INFINITY) },
  { type: 'float64', dims: [1], data: Float64Array.of(1 / 3) },
  { type: 'float16', dims: [2], data: Uint16Array.of(0x3c00, 0xfc00) },
  { type: 'int64', dims: [], data: BigInt64Array.of(-(2n ** 62n)) },
  { type: 'uint64', dims: [1], data: BigUint64Array.of(2n ** 64n - 1n) },
  { type: 'int32', dims: [2], data: Int32Array.of(-1, 2 ** 31 - 1) },
  { type: 'uint32', dims: [1], data: Uint32Array.of(2 ** 32 - 1) },
  { type: 'int16', dims: [1], data: Int16Array.of(-(2 ** 15)) },
  { type: 'uint16', dims: [1], data: Uint16Array.of(2 ** 16 - 1) },
  { type: 'int8', dims: [3], data: Int8Array.of(-128, 0, 127) },
  { type: 'uint8', dims: [3], data: Uint8Array.of(0, 128, 255) },
  { type: 'bool', dims: [2], data: Uint8Array.of(0, 1) },
  { type: 'float32', dims: [0, 4], data: new Float32Array() },
  { type: 'float32', dims: [2], data: new Float32Array(8).subarray(3, 5) },
];

test.each(TENSORS)('a $type tensor of dims $dims survives upload and download bit by bit', async (tensor) => {
  const resident = await engine.upload(tensor);
  expect(resident).toMatchObject({ type: tensor.type, dims: tensor.dims });
  const copy = await engine.download(resident);
  expect(copy.type).toBe(tensor.type);
  expect(copy.dims).toEqual(tensor.dims);
  expect(copy.data).toEqual(tensor.data.slice());
  await engine.free([resident]);
});

test('a tensor larger than every buffer on the way survives', async () => {
  const size = 5_000_011;
  const large = float32(
    [size],
    Float32Array.from({ length: size }, (_, i) => i * 0.37),
  );
  const resident = await engine.upload(large);
  expect(Buffer.from((await engine.download(resident)).data.buffer).equals(Buffer.from(large.data.buffer))).toBe(true);
  await engine.free([resident]);
});

test('kept outputs feed the next run without leaving the engine', async () => {
  const session = await engine.open(incrementMany(2, [3]));
  let state: Record<string, Resident> = {
    x0: await engine.upload(float32([3], [0, 0, 0])),
    x1: await engine.upload(float32([3], [5, 5, 5])),
  };
  for (let step = 0; step < 4; step += 1) {
    const { outputs, kept } = await session.runKeeping(state, ['y1'], ['y0', 'y1']);
    expect(outputs.y1?.data[0]).toBe(6 + step);
    await engine.free(Object.values(state));
    state = { x0: kept.y0 as Resident, x1: kept.y1 as Resident };
  }
  expect((await engine.download(state.x0 as Resident)).data).toEqual(Float32Array.of(4, 4, 4));
  await engine.free(Object.values(state));
  await session.release();
});

test('a freed resident is an error wherever it is used, and freeing is all or nothing', async () => {
  const session = await engine.open(incrementMany(1, [1]));
  const freed = await engine.upload(float32([1], [1]));
  const other = await engine.upload(float32([1], [2]));
  await engine.free([freed]);
  const message = `resident ${freed.resident} was freed or never uploaded`;
  await expect(engine.download(freed)).rejects.toThrow(message);
  await expect(session.run({ x0: freed })).rejects.toThrow(message);
  await expect(engine.free([other, freed])).rejects.toThrow(message);
  expect((await engine.download(other)).data).toEqual(Float32Array.of(2));
  await session.release();
});

test('feeds and outputs that the model does not have are named, with the nearest that it has', async () => {
  const session = await engine.open(incrementMany(2, [1]));
  const x = float32([1], [1]);
  await expect(session.run({ x0: x })).rejects.toMatchObject({
    kind: 'InvalidInput',
    message: expect.stringContaining("'x1'"),
  });
  await expect(session.run({ x0: x, x1: x, x9: x })).rejects.toMatchObject({ fix: "Did you mean 'x0'?" });
  await expect(session.run({ x0: x, x1: x }, ['y7'])).rejects.toMatchObject({ fix: "Did you mean 'y0'?" });
  await expect(session.run({ x0: x, x1: x }, [])).rejects.toMatchObject({ kind: 'InvalidInput' });
  await expect(session.run({ x0: x, x1: float32([2], [1, 1]) })).rejects.toMatchObject({ kind: 'InvalidInput' });
  await session.release();
});

test('a tensor whose data does not fit its dims is refused before it is sent', async () => {
  await expect(engine.upload({ type: 'float32', dims: [3], data: new Float32Array(2) })).rejects.toThrow(
    'needs 12 bytes',
  );
});

test('a released session is an error', async () => {
  const session = await engine.open(incrementMany(1, [1]));
  await session.release();
  await expect(session.run({ x0: float32([1], [1]) })).rejects.toThrow('was released');
  await expect(session.release()).rejects.toThrow('was released');
});

test('bytes that are no model, a missing file and an int4 graph output are invalid models', async () => {
  await expect(engine.open(new Uint8Array(100).fill(0xff))).rejects.toMatchObject({ kind: 'InvalidModel' });
  const path = join(folder, 'absent.onnx');
  await expect(engine.open({ path })).rejects.toMatchObject({ kind: 'InvalidModel', where: path });
  await expect(engine.open(int4Output())).rejects.toMatchObject({
    kind: 'InvalidModel',
    message: expect.stringContaining('int4'),
  });
  const x0 = float32([1], [1]);
  const session = await engine.open(incrementMany(1, [1]));
  expect((await session.run({ x0 })).y0?.data).toEqual(Float32Array.of(2));
  await session.release();
});

test('cuda without its libraries is unavailable, not replaced', async () => {
  const cuda = await EngineExecutor.start({ device: 'cuda', threads: 1 });
  const opened = cuda.open(matMulChain(64, 1)).then((session) => session.run({ x: gaussianTensor(1, 0, [64, 64]) }));
  const hasCuda = await opened.then(
    () => true,
    (error: unknown) => {
      expect(error).toMatchObject({ kind: 'DeviceUnavailable', fix: expect.stringMatching(/providers_cuda|driver/) });
      return false;
    },
  );
  if (hasCuda) process.stderr.write('this machine has CUDA: the run on it was proved to be there\n');
  await cuda.close();
});
