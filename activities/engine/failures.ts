import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import type { Device } from '../../models/executor.js';
import type { Failure } from './protocol.js';

/** What onnxruntime says when memory ran out. */
const OUT_OF_MEMORY =
  /bad_alloc|failed to allocate memory|out of memory|BFCArena|Array buffer allocation failed|Invalid typed array length/i;
/** What it says when the feeds do not fit the graph's inputs. */
const WRONG_FEEDS =
  /invalid (rank|dimensions) for input|got invalid dimensions|unexpected input data type|missing input|is missing in 'feeds'/i;

/** Onnxruntime's error at session creation as a failure: device problems and broken models are told apart. */
export function openFailure(error: unknown, device: Device, where: string | undefined): Failure {
  const what = messageOf(error);
  if (OUT_OF_MEMORY.test(what))
    return { kind: 'OutOfMemory', what: `not enough memory to load the model: ${what}`, where };
  const problem =
    device === 'cpu' ? undefined : DEVICE_PROBLEMS.find((entry) => entry.device === device && entry.pattern.test(what));
  if (problem !== undefined)
    return { kind: 'DeviceUnavailable', what: `device ${device} cannot be used: ${what}`, where, fix: problem.fix() };
  return { kind: 'InvalidModel', what: `onnxruntime cannot load the model: ${what}`, where };
}

/** Onnxruntime's error of a run as a failure. */
export function runFailure(error: unknown): Failure {
  const what = messageOf(error);
  if (OUT_OF_MEMORY.test(what))
    return { kind: 'OutOfMemory', what: `not enough memory to run the model: ${what}`, fix: 'Use a smaller batch.' };
  if (WRONG_FEEDS.test(what)) return { kind: 'InvalidInput', what: `the inputs do not fit the model: ${what}` };
  return { kind: 'InvalidModel', what: `running the model failed: ${what}` };
}

const DEVICE_PROBLEMS: readonly { device: Device; pattern: RegExp; fix: () => string }[] = [
  {
    device: 'webgpu',
    pattern: /adapter|webgpu|dawn|vulkan|no available backend/i,
    fix: () =>
      'WebGPU needs a driver: Vulkan on Linux (libvulkan.so.1 and a driver; `vulkaninfo` lists them), Metal on macOS, Direct3D 12 on Windows. Or choose --device cpu.',
  },
  { device: 'cuda', pattern: /shared library|providers_|libcu|cuda|no available backend/i, fix: cudaFix },
];

/** What CUDA lacks: the provider libraries when they are not beside the binding, else what they load. */
function cudaFix(): string {
  const folder = join(
    dirname(createRequire(import.meta.url).resolve('onnxruntime-node')),
    '..',
    'bin',
    'napi-v6',
    process.platform,
    process.arch,
  );
  const names = ['providers_shared', 'providers_cuda'].map((name) =>
    process.platform === 'win32' ? `onnxruntime_${name}.dll` : `libonnxruntime_${name}.so`,
  );
  const missing = names.filter((name) => !existsSync(join(folder, name)));
  const lack =
    missing.length > 0
      ? `${missing.join(' and ')} of this onnxruntime version must be in ${folder}`
      : 'The NVIDIA driver and the CUDA 13 and cuDNN 9 libraries must be where the loader finds them (LD_LIBRARY_PATH)';
  return `${lack}. Or choose --device cpu.`;
}

/** Onnxruntime's message without the source position and the condition that its assertions start with. */
function messageOf(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return message.replace(/^\S+\.(cc|h):\d+ .* was (false|true)\. /s, '').trim();
}
