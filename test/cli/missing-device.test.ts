import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { packageRoot } from '../../cli/package-root.js';
import { runCli } from './run-cli.js';

/** Devices that cannot be used end a command before it does anything: one message, exit code 3, no server. */

const PIPELINE = join(packageRoot(), 'models', 'zoo', 'emoji-t2i');
/** No driver is found there, whatever the machine has. */
const NO_DRIVER = { VK_ICD_FILENAMES: '/nonexistent', VK_DRIVER_FILES: '/nonexistent' };
let home: string;

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), 'nibbleflow-device-'));
});
afterAll(() => rm(home, { recursive: true, force: true }));

async function expectUnavailable(args: readonly string[], message: RegExp, env = {}): Promise<void> {
  const result = await runCli(args, { NIBBLEFLOW_HOME: home, ...env });
  expect(result).toMatchObject({ code: 3, stdout: '', stderr: expect.stringMatching(message) });
  expect(result.stderr.match(/cannot be used/g)).toHaveLength(1);
  expect(result.stderr).not.toMatch(/\n\s+at /);
  expect(await readdir(home)).toEqual([]);
}

describe('a device that is missing', () => {
  const out = ['--out', join(tmpdir(), 'nibbleflow-never-written')];

  it('cuda without its provider libraries names them', () =>
    expectUnavailable(
      ['quantize', PIPELINE, '--device', 'cuda', ...out],
      /device cuda cannot be used[\s\S]*libonnxruntime_providers_cuda[\s\S]*--device cpu/,
    ));

  it('webgpu without a driver names what it needs', () =>
    expectUnavailable(
      ['quantize', PIPELINE, '--device', 'webgpu', ...out],
      /device webgpu cannot be used[\s\S]*Vulkan[\s\S]*--device cpu/,
      NO_DRIVER,
    ));

  it('plan refuses it, too', () =>
    expectUnavailable(
      ['plan', PIPELINE, '--device', 'webgpu'],
      /device webgpu cannot be used[\s\S]*--device cpu/,
      NO_DRIVER,
    ));
});
