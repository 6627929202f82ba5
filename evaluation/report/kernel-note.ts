import type { Device } from '../../models/executor.js';

const WHERE: Readonly<Record<Device, string>> = {
  cpu: 'onnxruntime’s float32 CPU kernels, because that provider has no kernel for 4-bit activations times 4-bit weights',
  webgpu:
    'float32 WebGPU shaders, with activation codes held in whole floats because that provider has no 4-bit quantizer',
  cuda: 'onnxruntime’s float32 CUDA kernels, because that provider has no kernel for 4-bit activations times 4-bit weights',
};

/** Which kernels ran, and what may therefore be claimed. */
export function kernelNote(device: Device): string {
  return (
    'Weights and activations were rounded to their integer codes exactly as the shipped file says, and the products of those ' +
    `codes then ran on ${WHERE[device]}. The quality and the size are those of the shipped file; its low-bit arithmetic is ` +
    'simulated, and no speed-up is claimed.'
  );
}
