import { NibbleflowError } from '../../../contracts/errors.js';
import type { Dim, Graph, ValueInfo } from '../graph.js';
import { inferShapes } from '../shape-inference.js';

/**
 * Dims for every input of a graph under three bindings in which all symbolic dims differ from each other: what
 * `simplifyGraph` needs. Symbols are told apart by where they stand: axis 0 is the batch (2, 5, 5), the length of a rank-1
 * input is 1, 1 and the batch, axes ≥ 2 of rank ≥ 4 are multiples of 8, everything else is a sequence of at most 16.
 * @throws NibbleflowError InvalidModel when the graph accepts fewer than two of them.
 */
export function distinctBindings(graph: Graph): Record<string, number[]>[] {
  const symbols = new Map<string, readonly number[]>();
  const counts = { spatial: 0, sequence: 0 };
  // Inputs of higher rank first: they say which symbol is the batch.
  for (const input of graph.inputs.toSorted((a, b) => (b.shape?.length ?? 0) - (a.shape?.length ?? 0))) {
    for (const [axis, dim] of (input.shape ?? []).entries()) {
      const key = symbolKey(input, dim, axis);
      if (key !== undefined && !symbols.has(key)) symbols.set(key, sizesFor(input, axis, counts));
    }
  }
  const bindings = [0, 1, 2].map((which) =>
    Object.fromEntries(graph.inputs.map((input) => [input.name, boundDims(input, symbols, which)])),
  );
  const refusals: NibbleflowError[] = [];
  const accepted = bindings.filter((binding) => accepts(graph, binding, refusals));
  if (accepted.length < 2 && refusals[0] !== undefined) throw refusals[0];
  return accepted;
}

/** Unnamed dims are symbols of their own. */
function symbolKey(input: ValueInfo, dim: Dim, axis: number): string | undefined {
  return typeof dim === 'number' ? undefined : (dim ?? `${input.name}[${axis}]`);
}

const BATCH = [2, 5, 5];

function sizesFor(input: ValueInfo, axis: number, counts: { spatial: number; sequence: number }): readonly number[] {
  const rank = input.shape?.length ?? 0;
  if (rank === 1) return [1, 1, 5];
  if (axis === 0) return BATCH;
  if (rank >= 4 && axis >= 2) {
    const small = 8 + 16 * counts.spatial;
    counts.spatial += 1;
    return [small, small + 32, small + 32];
  }
  const large = 16 - counts.sequence;
  counts.sequence += 1;
  return [large - 3, large, large];
}

function boundDims(input: ValueInfo, symbols: ReadonlyMap<string, readonly number[]>, which: number): number[] {
  return (input.shape ?? []).map((dim, axis) => {
    const key = symbolKey(input, dim, axis);
    return key === undefined ? Number(dim) : (symbols.get(key)?.[which] ?? 1);
  });
}

function accepts(graph: Graph, binding: Record<string, number[]>, refusals: NibbleflowError[]): boolean {
  try {
    inferShapes(graph, binding);
    return true;
  } catch (cause) {
    if (!(cause instanceof NibbleflowError)) throw cause;
    refusals.push(cause);
    return false;
  }
}
