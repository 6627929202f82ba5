import type { EngineExecutor } from '../../../activities/engine/engine-executor.js';
import { NibbleflowError } from '../../../contracts/errors.js';
import { convMatMulSoftmax } from './models.js';

/**
 * Why `webgpu` cannot run here, or undefined when it can. CI runs these tests on a software Vulkan (test/software-vulkan.sh) and
 * fails without one, because then the tests run and end in this error; elsewhere they are to be skipped, which this announces.
 */
export async function missingWebgpu(webgpu: EngineExecutor): Promise<string | undefined> {
  try {
    await (await webgpu.open(convMatMulSoftmax())).release();
    return undefined;
  } catch (error) {
    if (process.env.CI !== undefined || !(error instanceof NibbleflowError) || error.kind !== 'DeviceUnavailable') {
      throw error;
    }
    process.stderr.write(
      `\n*** WebGPU TESTS SKIPPED: ${error.message}\n*** On Debian: eval "$(test/software-vulkan.sh)"\n\n`,
    );
    return error.message;
  }
}
