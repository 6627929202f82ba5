import { NibbleflowError } from '../../contracts/errors.js';
import { dataFromBytes, ELEMENT_TYPES, type ElementType, type Tensor, tensor } from '../tensors/tensor.js';
import type { DataTypeName, Initializer } from './graph.js';

/** Whether tensors of this ONNX type exist in memory (float4, float8, bfloat16, int4, strings do not). */
export function isElementType(type: DataTypeName): type is ElementType {
  return ELEMENT_TYPES.has(type);
}

/**
 * An initializer's data as a tensor: a view where the bytes are aligned, otherwise a copy.
 * @throws NibbleflowError InvalidModel for element types that have no tensor.
 */
export function tensorFromInitializer(initializer: Initializer): Tensor {
  const { type, dims, raw, name } = initializer;
  if (!isElementType(type)) {
    throw new NibbleflowError(
      'InvalidModel',
      `Tensor "${name}" has the element type ${type}, which cannot be read here`,
      {
        fix: 'Quantized and 8-bit float tensors are only read through the number formats.',
      },
    );
  }
  return tensor(type, dims, dataFromBytes(type, raw));
}
