import { availableParallelism } from 'node:os';
import { EngineExecutor } from '../../activities/engine/engine-executor.js';
import { runSelfTest } from '../../activities/engine/self-test.js';
import { machineFacts } from '../../activities/machine-facts.js';
import type { Device } from '../../models/executor.js';
import { type Check, type DoctorLine, ok } from './check.js';
import { firstSentence } from './first-sentence.js';

/** Starting a device's driver takes seconds; a driver that hangs must not hang the doctor. */
const SELF_TEST_TIMEOUT_MS = 60_000;

const DEVICES: readonly Device[] = ['cpu', 'webgpu', 'cuda'];

/** onnxruntime, and every device in a child process that computes small 4-bit graphs there. */
export const devices: Check = {
  name: 'onnxruntime',
  run: async ({ loaded }) => {
    const wanted = loaded.config.devices.default;
    const lines = [ok(`version ${machineFacts().onnxruntime ?? 'unknown'}`)];
    for (const device of DEVICES) lines.push(await deviceLine(device, wanted));
    return lines;
  },
};

async function deviceLine(device: Device, wanted: Device): Promise<Omit<DoctorLine, 'check'>> {
  const failure = await selfTestFailure(device);
  if (failure === null) return ok(`${device}: works (self-test passed)`);
  if (device !== wanted && device !== 'cpu') return ok(`${device}: not available here: ${failure}`);
  const fix =
    device === 'cpu'
      ? 'Install the package again: `npm ci`.'
      : `Install the device’s driver, or set devices.default: 'cpu' in temporal.config.ts.`;
  return { state: 'failed', what: `${device}: ${failure}`, fix };
}

/** null when the device computes what it should. */
async function selfTestFailure(device: Device): Promise<string | null> {
  const signal = AbortSignal.timeout(SELF_TEST_TIMEOUT_MS);
  try {
    const executor = await EngineExecutor.start({
      device,
      threads: Math.min(2, availableParallelism()),
      logLevel: 'fatal',
      signal,
    });
    try {
      await runSelfTest(executor);
      return null;
    } finally {
      await executor.close().catch(() => undefined);
    }
  } catch (error) {
    return signal.aborted ? `no answer within ${SELF_TEST_TIMEOUT_MS / 1000} s` : firstSentence(error);
  }
}
