import { dataFromBytes, type Tensor, tensor } from '../../tensors/tensor.js';
import { dataTypeName } from '../data-type.js';
import { type Graph, intAttribute, type Node } from '../graph.js';
import type { Shapes } from '../shape-inference.js';
import { type BinaryOperator, binaryConstant, castConstant } from '../shapes/constant-elements.js';
import { isElementType } from '../tensor-from-initializer.js';
import type { ConstantPool } from './constant-pool.js';
import { commonConstant } from './fold-shape-arithmetic.js';

/**
 * Operands like ConstantOfShape(dims) · 0, whose elements are all one known number, become a scalar wherever the other
 * operand has the result's dims already (exporters write `baddbmm` with β = 0 that way).
 */
export function shrinkUniformOperands(graph: Graph, bindings: readonly Shapes[], pool: ConstantPool): void {
  for (const node of graph.nodes) {
    if (node.domain !== '' || OPERATORS[node.opType] === undefined) continue;
    for (const [index, other] of [
      [0, 1],
      [1, 0],
    ] as const) {
      const operand = node.inputs[index] ?? '';
      if (graph.initializers.has(operand) || !keepsDims(node, other, bindings)) continue;
      const value = uniformValue(graph, bindings, operand);
      if (value !== undefined) node.inputs[index] = pool.addTensor(value, `${operand}_scalar`);
    }
  }
  graph.invalidate();
}

/** Correctly rounded operators only. */
const OPERATORS: Readonly<Record<string, BinaryOperator>> = {
  Add: { number: (a, b) => a + b, bigint: (a, b) => a + b },
  Sub: { number: (a, b) => a - b, bigint: (a, b) => a - b },
  Mul: { number: (a, b) => a * b, bigint: (a, b) => a * b },
};

function keepsDims(node: Node, operand: 0 | 1, bindings: readonly Shapes[]): boolean {
  return bindings.every(
    (shapes) => String(shapes.dimsOf(node.inputs[operand] ?? '')) === String(shapes.dimsOf(node.outputs[0] ?? '')),
  );
}

/** The one element (dims []) of a value whose elements are all the same whatever its dims are. */
function uniformValue(graph: Graph, bindings: readonly Shapes[], value: string): Tensor | undefined {
  const constant = commonConstant(bindings, value);
  if (constant !== undefined) return constant.data.length === 1 ? scalar(constant) : undefined;
  const node = graph.producerOf(value);
  if (node === undefined || node.domain !== '') return undefined;
  const [a = '', b = ''] = node.inputs;
  switch (node.opType) {
    case 'ConstantOfShape':
      return filler(node);
    case 'Expand':
      return uniformValue(graph, bindings, a);
    case 'Cast': {
      const type = dataTypeName(intAttribute(node, 'to', 0));
      return type !== undefined && isElementType(type)
        ? castConstant(uniformValue(graph, bindings, a), type)
        : undefined;
    }
    default:
      return OPERATORS[node.opType] === undefined
        ? undefined
        : binaryConstant(
            OPERATORS[node.opType],
            uniformValue(graph, bindings, a),
            uniformValue(graph, bindings, b),
            [],
          );
  }
}

function scalar(value: Tensor): Tensor {
  return tensor(value.type, [], value.data);
}

function filler(node: Node): Tensor | undefined {
  const value = node.attributes.get('value');
  if (value === undefined) return tensor('float32', [], new Float32Array(1));
  if (value.kind !== 'tensor' || !isElementType(value.value.type)) return undefined;
  return tensor(value.value.type, [], dataFromBytes(value.value.type, value.value.raw));
}
