import type { QuantizationPlan } from '../layer-plan.js';
import type { QuantizedParameters } from '../quantized-parameters.js';
import { macsPerRank } from './branchable-layers.js';

/** What the float side branches of a quantized denoiser cost. */
export interface BranchCost {
  readonly layers: number;
  /** Extra multiply-adds as a share of all of the denoiser's. */
  readonly macs: number;
  /** Of their factors in the file: two a number. */
  readonly bytes: number;
}

const HALF_BYTES = 2;

/** null without branches. */
export function branchCost(plan: QuantizationPlan, parameters: QuantizedParameters): BranchCost | null {
  const { branches } = parameters;
  if (branches.size === 0) return null;
  let [macs, bytes, total] = [0, 0, 0];
  for (const { name, macs: own, weight } of plan.layers) {
    total += own;
    const branch = branches.get(name);
    if (branch === undefined || weight === null) continue;
    const outputs = weight.dims[weight.outputAxis] ?? 1;
    macs += (branch.up.data.length / outputs) * macsPerRank({ macs: own, weight });
    bytes += HALF_BYTES * (branch.down.data.length + branch.up.data.length);
  }
  return { layers: branches.size, macs: macs / Math.max(1, total), bytes };
}
