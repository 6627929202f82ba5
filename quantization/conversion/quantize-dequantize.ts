import { type Attribute, attribute, DATA_TYPE } from '../../models/onnx/graph.js';
import type { NodeEmitter } from '../../models/onnx/node-emitter.js';
import { codeRange } from '../formats/integer-grid.js';
import type { ActivationScheme } from '../layer-plan.js';

/** QuantizeLinear and DequantizeLinear of opset 21 on one grid. */
export interface QdqGrid {
  readonly scale: string;
  /** In the container's type; null for signed grids. */
  readonly zeroPoint: string | null;
  readonly spread: Record<string, Attribute>;
}

/** The codes of `value` on `grid`, and what they stand for. */
export function quantizeDequantize(value: string, grid: QdqGrid, emitter: NodeEmitter, bits: number): string {
  const parameters = grid.zeroPoint === null ? [grid.scale] : [grid.scale, grid.zeroPoint];
  const dtype: Record<string, Attribute> =
    grid.zeroPoint === null ? { output_dtype: attribute.int(containerType(bits, true)) } : {};
  const codes = emitter.emit('QuantizeLinear', [value, ...parameters], { ...grid.spread, ...dtype }, 'codes');
  return emitter.emit('DequantizeLinear', [codes, ...parameters], grid.spread, 'value');
}

/** INT4/UINT4 up to 4 bits, INT8/UINT8 above. */
export function containerType(bits: number, signed: boolean): number {
  if (bits <= 4) return signed ? DATA_TYPE.int4 : DATA_TYPE.uint4;
  return signed ? DATA_TYPE.int8 : DATA_TYPE.uint8;
}

/** Clamps to the values of a grid that is smaller than its container; `zero` is the zero point as a float, or null. */
export function clampToGrid(
  value: string,
  scheme: ActivationScheme,
  scale: string,
  zero: string | null,
  emitter: NodeEmitter,
): string {
  if (scheme.bits === 4 || scheme.bits === 8) return value;
  const { min, max } = codeRange({ bits: scheme.bits, signed: scheme.symmetric });
  const bound = (code: number): string => {
    const steps = zero === null ? emitter.scalar(code) : emitter.emit('Sub', [emitter.scalar(code), zero]);
    return emitter.emit('Mul', [steps, scale]);
  };
  return emitter.emit('Min', [emitter.emit('Max', [value, bound(min)]), bound(max)], {}, 'clamped');
}
