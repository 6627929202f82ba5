import { createRequire } from 'node:module';

/**
 * What else than inputs and parameters decides a stage's numbers: the runtime's version and the kind of machine. Another
 * version or architecture means another key, never a wrong hit.
 */
export function machineFacts(): Record<string, string> {
  const require = createRequire(import.meta.url);
  const { version } = require('onnxruntime-node/package.json') as { version: string };
  return { onnxruntime: version, arch: process.arch, platform: process.platform };
}
