import { expect, test } from 'vitest';
import { EngineExecutor } from '../../../activities/engine/engine-executor.js';
import { gaussianTensor } from '../../../models/tensors/random.js';
import { bytesFromTensor, int64, type Tensor } from '../../../models/tensors/tensor.js';

const RUNS = 20;

test.each([1, 2])('the bundled UNet gives the same bits in every run on %i threads', async (threads) => {
  const engine = await EngineExecutor.start({ device: 'cpu', threads });
  const session = await engine.open({ path: 'models/zoo/emoji-t2i/unet/model.onnx' });
  const feeds = {
    sample: gaussianTensor(2, 0, [2, 12, 32, 32]),
    timestep: int64([1], [500]),
    encoder_hidden_states: gaussianTensor(2, 1, [2, 16, 64]),
  };
  const results: Uint8Array[] = [];
  for (let run = 0; run < RUNS; run += 1) {
    results.push(bytesFromTensor((await session.run(feeds)).out_sample as Tensor));
  }
  const [first = new Uint8Array(), ...others] = results;
  expect(first.byteLength).toBe(2 * 12 * 32 * 32 * 4);
  for (const other of others) expect(Buffer.compare(first, other)).toBe(0);
  await engine.close();
});
