import { attribute, Graph, initializerFromTensor, type Node, node, type ValueInfo } from '../../models/onnx/graph.js';
import { writeModel } from '../../models/onnx/model-proto.js';
import { type Tensor, tensor } from '../../models/tensors/tensor.js';
import { gramNodes, operation, triangularGramNodes } from './symmetric-graphs.js';

/** The operations of held matrices as ONNX models. Their results are y, and where there are two, z. */

const matrix = (name: string): ValueInfo => ({ name, type: 'float64', shape: [`${name}_rows`, `${name}_cols`] });
const integers = (name: string): ValueInfo => ({ name, type: 'int64', shape: [`${name}_count`] });
const vector = (name: string): ValueInfo => ({ name, type: 'float64', shape: [`${name}_count`] });
const y = matrix('y');

interface Parts {
  readonly outputs?: readonly ValueInfo[];
  readonly constants?: Readonly<Record<string, Tensor>>;
}

function model(
  inputs: readonly ValueInfo[],
  nodes: readonly Node[],
  { outputs = [y], constants = {} }: Parts = {},
): Uint8Array {
  const graph = new Graph();
  graph.inputs = [...inputs];
  graph.outputs = [...outputs];
  graph.nodes = [...nodes];
  for (const [name, value] of Object.entries(constants)) graph.addInitializer(initializerFromTensor(name, value));
  return writeModel(graph);
}

export interface ProductKind {
  readonly turnA: boolean;
  readonly turnB: boolean;
  readonly minus: boolean;
  /** Whether c is added, or factor [1] · c. */
  readonly plus: 'none' | 'whole' | 'share';
}

/** y = ±A·B (+ c, or + factor [1] · c). */
export function productModel({ turnA, turnB, minus, plus }: ProductKind): Uint8Array {
  const turns = { transA: turnA ? 1 : 0, transB: turnB ? 1 : 0 };
  const gemm = (inputs: readonly string[]): Node => gemmNode(inputs, 'y', turns, minus);
  const inputs = [matrix('a'), matrix('b')];
  if (plus === 'none') return model(inputs, [gemm(['a', 'b'])]);
  if (plus === 'whole') return model([...inputs, matrix('c')], [gemm(['a', 'b', 'c'])]);
  const share = operation('Mul', ['c', 'factor'], ['share']);
  return model([...inputs, matrix('c'), vector('factor')], [share, gemm(['a', 'b', 'share'])]);
}

function gemmNode(inputs: readonly string[], output: string, turns: Record<string, number>, minus: boolean): Node {
  const ints = Object.fromEntries(Object.entries(turns).map(([name, value]) => [name, attribute.int(value)]));
  const attributes = { ...ints, alpha: attribute.float(minus ? -1 : 1) };
  return node('Gemm', [...inputs], [output], { name: `make ${output}`, attributes });
}

/** ONNX's code of float64. */
const DOUBLE = 11;
const centred = [operation('Cast', ['x'], ['wide'], { to: DOUBLE }), operation('Sub', ['wide', 'centre'], ['centred'])];
const rows: ValueInfo = { name: 'x', type: 'float32', shape: ['n', 'd'] };

/** y = x [n, d] in float32 − centre [d]. */
export function centreModel(): Uint8Array {
  return model([rows, vector('centre')], [...centred, operation('Identity', ['centred'], ['y'])]);
}

/** y = x·xᵀ, or with C = x − centre and a row b [1, d]: y = last + CᵀC + bᵀb. Cut into parts, or in one piece. */
export function gramModel(isCut: boolean): Uint8Array {
  return model([matrix('x')], wholeOrCut(isCut, 'x', 'y'));
}

export function scatterModel(isCut: boolean): Uint8Array {
  return model(
    [matrix('last'), rows, vector('centre'), matrix('b')],
    [
      ...centred,
      operation('Transpose', ['centred'], ['columns']),
      ...wholeOrCut(isCut, 'columns', 'within'),
      operation('Gemm', ['b', 'b', 'last'], ['joined'], { transA: 1 }),
      operation('Add', ['joined', 'within'], ['y']),
    ],
  );
}

function wholeOrCut(isCut: boolean, x: string, result: string): Node[] {
  return isCut ? gramNodes(x, result) : [operation('Gemm', [x, x], [result], { transB: 1 })];
}

/** y = tᵀ·t of a lower triangular t. */
export function triangularGramModel(isCut: boolean): Uint8Array {
  if (!isCut) return model([matrix('t')], [operation('Gemm', ['t', 't'], ['y'], { transA: 1 })]);
  return model([matrix('t')], [operation('Transpose', ['t'], ['turned']), ...triangularGramNodes('turned', 'y')]);
}

/** Of a = [[A₁₁, ·], [A₂₁, A₂₂]] and p = L₁₁⁻¹: y = L₂₁ = A₂₁·pᵀ and z = A₂₂ − y·yᵀ. `half` [1] rows are above. */
export function eliminateModel(): Uint8Array {
  const nodes = [
    operation('Concat', ['half', 'zero'], ['below'], { axis: 0 }),
    operation('Concat', ['half', 'half'], ['corner'], { axis: 0 }),
    operation('Concat', ['end', 'half'], ['belowEnd'], { axis: 0 }),
    operation('Concat', ['end', 'end'], ['cornerEnd'], { axis: 0 }),
    operation('Slice', ['a', 'below', 'belowEnd'], ['a21']),
    operation('Slice', ['a', 'corner', 'cornerEnd'], ['a22']),
    operation('Gemm', ['a21', 'p'], ['y'], { transB: 1 }),
    gemmNode(['y', 'y', 'a22'], 'z', { transB: 1 }, true),
  ];
  const constants = {
    zero: tensor('int64', [1], BigInt64Array.of(0n)),
    end: tensor('int64', [1], BigInt64Array.of(END)),
  };
  return model([matrix('a'), matrix('p'), integers('half')], nodes, { outputs: [y, matrix('z')], constants });
}

/** Slice's way to say: to the end. */
const END = 2n ** 63n - 1n;

/** y = [[p, 0], [−q·(l·p), q]], the inverse of [[p⁻¹, 0], [l, q⁻¹]]. */
export function joinTrianglesModel(): Uint8Array {
  const nodes = [
    operation('MatMul', ['l', 'p'], ['right']),
    gemmNode(['q', 'right'], 'coupling', {}, true),
    operation('Shape', ['p'], ['height'], { start: 0, end: 1 }),
    operation('Shape', ['q'], ['width'], { start: 0, end: 1 }),
    operation('Concat', ['height', 'width'], ['size'], { axis: 0 }),
    operation('Expand', ['zero', 'size'], ['zeros']),
    operation('Concat', ['p', 'zeros'], ['top'], { axis: 1 }),
    operation('Concat', ['coupling', 'q'], ['bottom'], { axis: 1 }),
    operation('Concat', ['top', 'bottom'], ['y'], { axis: 0 }),
  ];
  const constants = { zero: tensor('float64', [], new Float64Array(1)) };
  return model([matrix('p'), matrix('l'), matrix('q')], nodes, { constants });
}

export function turnedModel(): Uint8Array {
  return model([matrix('x')], [operation('Transpose', ['x'], ['y'])]);
}

/** Rows first[0] … end[0] − 1 and columns first[1] … end[1] − 1. */
export function blockModel(): Uint8Array {
  return model([matrix('x'), integers('first'), integers('end')], [operation('Slice', ['x', 'first', 'end'], ['y'])]);
}

export function pickModel(what: 'rows' | 'cols'): Uint8Array {
  const axis = what === 'rows' ? 0 : 1;
  return model([matrix('x'), integers('indices')], [operation('Gather', ['x', 'indices'], ['y'], { axis })]);
}

/** Inputs part0, part1 … */
export function stackModel(count: number): Uint8Array {
  const names = Array.from({ length: count }, (_, i) => `part${i}`);
  return model(names.map(matrix), [operation('Concat', names, ['y'], { axis: 0 })]);
}

export function diagonalModel(): Uint8Array {
  const nodes = [
    operation('EyeLike', ['x'], ['one']),
    operation('Mul', ['x', 'one'], ['kept']),
    operation('ReduceSum', ['kept', 'axis'], ['y'], { keepdims: 0 }),
  ];
  const constants = { axis: tensor('int64', [1], BigInt64Array.of(1n)) };
  return model([matrix('x')], nodes, { outputs: [vector('y')], constants });
}
