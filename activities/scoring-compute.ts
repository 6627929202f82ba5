import type { Compute } from '../contracts/stages.js';

/** Where metrics are computed: their products are float64, which WebGPU does not have. Features of pictures may be made there. */
export function scoringCompute(compute: Compute): Compute {
  return compute.device === 'webgpu' ? { ...compute, device: 'cpu' } : compute;
}
