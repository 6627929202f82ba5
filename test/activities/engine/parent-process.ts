import { EngineExecutor } from '../../../activities/engine/engine-executor.js';
import { float32 } from '../../../models/tensors/tensor.js';
import { matMulChain } from './models.js';

/**
 * A parent for engine-process.test.ts to kill: prints its engine's process id, then `busy` starts a run of minutes and waits
 * for it, `idle` forgets the engine.
 */
const engine = await EngineExecutor.start({ device: 'cpu', threads: 1 });
if (process.argv[2] === 'busy') {
  const size = 1024;
  const session = await engine.open(matMulChain(size, 2000));
  process.stdout.write(`${engine.pid}\n`);
  await session.run({ x: float32([size, size], new Float32Array(size * size)) });
  process.stdout.write('the run ended\n');
} else {
  process.stdout.write(`${engine.pid}\n`);
}
