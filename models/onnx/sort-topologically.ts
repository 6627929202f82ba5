import type { Graph, Node } from './graph.js';

/**
 * Reorders `graph.nodes` so that every node stands behind the producers of its inputs; otherwise the order is kept (Kahn's
 * algorithm, always taking the ready node that stood first). Throws when the graph has a cycle.
 */
export function sortTopologically(graph: Graph): void {
  const producers = new Map<string, number>();
  graph.nodes.forEach((node, index) => {
    for (const output of node.outputs) if (output !== '') producers.set(output, index);
  });
  const waitingFor = new Array<number>(graph.nodes.length).fill(0);
  const readers = graph.nodes.map((): number[] => []);
  graph.nodes.forEach((node, index) => {
    const sources = new Set(node.inputs.map((input) => producers.get(input)).filter((at) => at !== undefined));
    waitingFor[index] = sources.size;
    for (const source of sources) readers[source]?.push(index);
  });
  const order = drain(waitingFor, readers);
  if (order.length !== graph.nodes.length) throw new Error('sortTopologically: the graph has a cycle');
  graph.nodes = order.map((index) => graph.nodes[index] as Node);
  graph.invalidate();
}

/** Emits ready indices smallest first, with a binary heap. */
function drain(waitingFor: number[], readers: readonly (readonly number[])[]): number[] {
  const heap: number[] = [];
  const order: number[] = [];
  for (let index = 0; index < waitingFor.length; index += 1) if (waitingFor[index] === 0) push(heap, index);
  for (let next = pop(heap); next !== undefined; next = pop(heap)) {
    order.push(next);
    for (const reader of readers[next] ?? []) {
      const left = (waitingFor[reader] ?? 0) - 1;
      waitingFor[reader] = left;
      if (left === 0) push(heap, reader);
    }
  }
  return order;
}

function push(heap: number[], value: number): void {
  let at = heap.push(value) - 1;
  while (at > 0) {
    const parent = (at - 1) >> 1;
    if ((heap[parent] as number) <= (heap[at] as number)) return;
    swap(heap, parent, at);
    at = parent;
  }
}

function pop(heap: number[]): number | undefined {
  const top = heap[0];
  const last = heap.pop();
  if (top === undefined || last === undefined || heap.length === 0) return top;
  heap[0] = last;
  for (let at = 0; ; ) {
    const left = 2 * at + 1;
    const right = left + 1;
    let smallest = at;
    if (left < heap.length && (heap[left] as number) < (heap[smallest] as number)) smallest = left;
    if (right < heap.length && (heap[right] as number) < (heap[smallest] as number)) smallest = right;
    if (smallest === at) return top;
    swap(heap, smallest, at);
    at = smallest;
  }
}

function swap(heap: number[], i: number, j: number): void {
  const held = heap[i] as number;
  heap[i] = heap[j] as number;
  heap[j] = held;
}
