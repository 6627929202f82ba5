import { attribute } from '../../../../models/onnx/graph.js';
import { float32, tensor } from '../../../../models/tensors/tensor.js';
import type { RuleCase } from './rule-case.js';

const { float, int, string } = attribute;

const attention = (title: string, inputs: RuleCase['inputs'], attributes: RuleCase['attributes'] = {}): RuleCase => ({
  title: `Attention ${title}`,
  opType: 'Attention',
  opset: 23,
  inputs,
  attributes,
  float32Because: 'its function body rounds the square root of the scale to float32',
});

/** One row of an additive mask has −∞ for everything but its first columns. */
const additive = float32([3, 4], [0, 0.5, -1, 0, 0, -Infinity, -Infinity, -Infinity, 1, 0, 0, -0.5]);
const visible = tensor(
  'bool',
  [2, 1, 3, 4],
  Uint8Array.from([1, 1, 0, 1, 1, 1, 1, 1, 0, 0, 1, 1, 1, 0, 1, 0, 1, 1, 1, 0, 0, 0, 0, 1]),
);

export const PRODUCT_CASES: readonly RuleCase[] = [
  {
    title: 'MatMul of matrices',
    opType: 'MatMul',
    inputs: [
      [3, 4],
      [4, 2],
    ],
  },
  {
    title: 'MatMul of batches',
    opType: 'MatMul',
    inputs: [
      [2, 3, 3, 4],
      [2, 3, 4, 2],
    ],
  },
  {
    title: 'MatMul of a batch and a matrix',
    opType: 'MatMul',
    inputs: [
      [2, 3, 4],
      [4, 2],
    ],
  },
  {
    title: 'MatMul of a matrix and a batch',
    opType: 'MatMul',
    inputs: [
      [3, 4],
      [2, 4, 2],
    ],
  },
  {
    title: 'MatMul of broadcast batches',
    opType: 'MatMul',
    inputs: [
      [1, 2, 3, 4],
      [3, 1, 4, 2],
    ],
  },
  { title: 'MatMul of a vector and a matrix', opType: 'MatMul', inputs: [[4], [4, 3]] },
  { title: 'MatMul of a batch and a vector', opType: 'MatMul', inputs: [[2, 3, 4], [4]] },
  { title: 'MatMul of vectors', opType: 'MatMul', inputs: [[4], [4]] },
  { title: 'Gemm', opType: 'Gemm', inputs: [[3, 4], [4, 2], [2]] },
  ...[0, 1].flatMap((transA) =>
    [0, 1].map((transB) => ({
      title: `Gemm transA ${transA} transB ${transB}`,
      opType: 'Gemm',
      inputs: [transA ? [4, 3] : [3, 4], transB ? [2, 4] : [4, 2], [3, 1]],
      attributes: { transA: int(transA), transB: int(transB), alpha: float(0.5), beta: float(-1.5) },
    })),
  ),
  attention('of heads', [
    [2, 2, 3, 4],
    [2, 2, 5, 4],
    [2, 2, 5, 3],
  ]),
  attention(
    'with a scale of its own',
    [
      [1, 2, 3, 4],
      [1, 2, 3, 4],
      [1, 2, 3, 4],
    ],
    { scale: float(0.75) },
  ),
  attention(
    'of heads side by side',
    [
      [2, 3, 8],
      [2, 5, 8],
      [2, 5, 6],
    ],
    { q_num_heads: int(2), kv_num_heads: int(2) },
  ),
  attention('of groups of queries', [
    [2, 4, 3, 5],
    [2, 2, 4, 5],
    [2, 2, 4, 3],
  ]),
  attention(
    'of groups of queries side by side',
    [
      [1, 3, 8],
      [1, 4, 4],
      [1, 4, 6],
    ],
    {
      q_num_heads: int(4),
      kv_num_heads: int(2),
    },
  ),
  attention('with a learned mask', [
    [2, 2, 3, 4],
    [2, 2, 4, 4],
    [2, 2, 4, 4],
    [2, 1, 3, 4],
  ]),
  attention('with an additive mask', [[2, 2, 3, 4], [2, 2, 4, 4], [2, 2, 4, 4], additive]),
  attention('with a mask of what is visible', [[2, 2, 3, 4], [2, 2, 4, 4], [2, 2, 4, 4], visible]),
  attention(
    'that only looks back',
    [
      [1, 2, 4, 3],
      [1, 2, 4, 3],
      [1, 2, 4, 3],
    ],
    { is_causal: int(1) },
  ),
  ...(
    [
      ['ij,jk->ik', [3, 4], [4, 2]],
      ['bhid,bhjd->bhij', [2, 2, 3, 4], [2, 2, 5, 4]],
      ['nhwpqc->nchpwq', [2, 2, 3, 2, 2, 3]],
      ['ij,kj', [3, 4], [2, 4]],
      ['bij,jk->bk', [2, 3, 4], [4, 2]],
      ['ij->', [3, 4]],
      ['ijk->ik', [2, 3, 4]],
      ['i,j,k->ijk', [2], [3], [4]],
      ['i,i,i->', [3], [3], [3]],
      ['...ij,jk->...ik', [2, 2, 3, 4], [4, 2]],
      ['...i,...i->...', [2, 3, 4], [1, 3, 4]],
      ['ij,jk->ik', [3, 4], [1, 2]],
    ] as const
  ).map(([equation, ...inputs]) => ({
    title: `Einsum ${equation} of ${inputs.map((dims) => dims.join('×')).join(' and ')}`,
    opType: 'Einsum',
    inputs,
    attributes: { equation: string(equation) },
  })),
];
