import type { Compute } from '../contracts/stages.js';

/**
 * Runs small 4-bit graphs on the device, so that one that is missing or computes wrongly is found before the work starts.
 * @throws NibbleflowError DeviceUnavailable, or Internal when results are wrong there
 */
export async function checkDevice({ device, threads }: Compute): Promise<void> {
  if (device === 'cpu') return;
  const [{ EngineExecutor }, { runSelfTest }] = await Promise.all([
    import('../activities/engine/engine-executor.js'),
    import('../activities/engine/self-test.js'),
  ]);
  const executor = await EngineExecutor.start({ device, threads });
  try {
    await runSelfTest(executor);
  } finally {
    await executor.close();
  }
}
