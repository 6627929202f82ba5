import { attribute, type Node, node } from '../../models/onnx/graph.js';

/**
 * Nodes of products that are symmetric: cut into parts, and only blocks on and below the diagonal computed, the others being
 * their mirrors. In one graph, because what leaves a session is copied.
 */
const PARTS = [0, 1, 2, 3];

/** Rows that are worth cutting; the fewest that PARTS can cut are 5. */
export const CUT_ROWS = 512;

/** y = x·xᵀ. */
export function gramNodes(x: string, y: string): Node[] {
  const parts = PARTS.map((i) => `${x} ${i}`);
  const blocks = lowerBlocks((i, j) => [
    operation('Gemm', [`${x} ${i}`, `${x} ${j}`], [`${y} ${i} ${j}`], { transB: 1 }),
  ]);
  return [operation('Split', [x], parts, { axis: 0, num_outputs: PARTS.length }), ...blocks, ...assembled(y)];
}

/** y = u·uᵀ of an upper triangular u: block [i, j], j ≤ i, is the sum over k ≥ i of u[i, k]·u[j, k]ᵀ. */
export function triangularGramNodes(u: string, y: string): Node[] {
  const rows = PARTS.map((i) => `${u} ${i}`);
  const columns = PARTS.map((i) => {
    const parts = PARTS.map((k) => `${u} ${i} ${k}`);
    return operation('Split', [`${u} ${i}`], parts, { axis: 1, num_outputs: PARTS.length });
  });
  const blocks = lowerBlocks((i, j) =>
    PARTS.slice(i).map((k) => {
      const sum = (last: number) => (last === PARTS.length - 1 ? `${y} ${i} ${j}` : `${y} ${i} ${j} to ${last}`);
      const added = k === i ? [] : [sum(k - 1)];
      return operation('Gemm', [`${u} ${i} ${k}`, `${u} ${j} ${k}`, ...added], [sum(k)], { transB: 1 });
    }),
  );
  return [
    operation('Split', [u], rows, { axis: 0, num_outputs: PARTS.length }),
    ...columns,
    ...blocks,
    ...assembled(y),
  ];
}

function lowerBlocks(block: (i: number, j: number) => Node[]): Node[] {
  return PARTS.flatMap((i) => PARTS.slice(0, i + 1).flatMap((j) => block(i, j)));
}

/** y of its blocks `y i j`, j ≤ i. */
function assembled(y: string): Node[] {
  const rows = PARTS.flatMap((i) => {
    const mirrored = PARTS.slice(i + 1).map((j) => operation('Transpose', [`${y} ${j} ${i}`], [`${y} ${i} ${j}`]));
    const blocks = PARTS.map((j) => `${y} ${i} ${j}`);
    return [...mirrored, operation('Concat', blocks, [`${y} row ${i}`], { axis: 1 })];
  });
  return [
    ...rows,
    operation(
      'Concat',
      PARTS.map((i) => `${y} row ${i}`),
      [y],
      { axis: 0 },
    ),
  ];
}

/** A node with integer attributes. */
export function operation(
  opType: string,
  inputs: readonly string[],
  outputs: readonly string[],
  attributes: Readonly<Record<string, number>> = {},
): Node {
  const values = Object.fromEntries(Object.entries(attributes).map(([name, value]) => [name, attribute.int(value)]));
  return node(opType, [...inputs], [...outputs], { name: `make ${outputs[0]}`, attributes: values });
}
