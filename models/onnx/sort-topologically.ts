import { NibbleflowError } from '../../contracts/errors.js';
import type { Graph, Node } from './graph.js';
import { subgraphReads } from './subgraph-reads.js';

/**
 * Puts every node behind the nodes it reads; nodes that are in order already keep their order.
 * @throws NibbleflowError InvalidModel naming the nodes of a cycle.
 */
export function sortTopologically(graph: Graph): void {
  const { sorted, blocked } = topologicalOrder(graph);
  if (blocked.length > 0) {
    throw new NibbleflowError('InvalidModel', `Graph "${graph.name}" has a cycle: ${nodeList(blocked)}`, {
      fix: 'Export the model again; ONNX graphs have no loops between nodes.',
    });
  }
  graph.nodes = sorted;
  graph.invalidate();
}

/** The nodes in order, and those that wait for each other. */
export function topologicalOrder(graph: Graph): { sorted: Node[]; blocked: Node[] } {
  const producers = new Map<string, number>();
  for (const [index, node] of graph.nodes.entries())
    for (const output of node.outputs) if (output !== '') producers.set(output, index);
  const readers = graph.nodes.map((): number[] => []);
  const waiting = graph.nodes.map((node, index) => {
    const reads = new Set([...node.inputs, ...subgraphReads(node)].flatMap((value) => producers.get(value) ?? []));
    for (const producer of reads) readers[producer]?.push(index);
    return reads.size;
  });
  const ready = new IndexHeap();
  for (const [index, count] of waiting.entries()) if (count === 0) ready.push(index);
  const sorted: Node[] = [];
  for (let index = ready.pop(); index !== undefined; index = ready.pop()) {
    sorted.push(graph.nodes[index] as Node);
    for (const reader of readers[index] ?? []) {
      waiting[reader] = (waiting[reader] ?? 0) - 1;
      if (waiting[reader] === 0) ready.push(reader);
    }
  }
  return { sorted, blocked: graph.nodes.filter((_, index) => (waiting[index] ?? 0) > 0) };
}

/** At most five names. */
export function nodeList(nodes: readonly Node[]): string {
  const names = nodes.slice(0, 5).map((node) => node.name);
  return nodes.length > names.length ? `${names.join(', ')} and ${nodes.length - names.length} more` : names.join(', ');
}

/** A binary heap that gives the smallest index first, so that the sort is stable. */
class IndexHeap {
  private readonly items: number[] = [];

  push(item: number): void {
    let at = this.items.length;
    this.items.push(item);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if ((this.items[parent] ?? 0) <= item) break;
      this.items[at] = this.items[parent] ?? 0;
      at = parent;
    }
    this.items[at] = item;
  }

  pop(): number | undefined {
    const [top] = this.items;
    const last = this.items.pop();
    if (top === undefined || last === undefined || this.items.length === 0) return top;
    let at = 0;
    for (;;) {
      const left = 2 * at + 1;
      const right = left + 1;
      const child = (this.items[right] ?? Infinity) < (this.items[left] ?? Infinity) ? right : left;
      if ((this.items[child] ?? Infinity) >= last) break;
      this.items[at] = this.items[child] ?? 0;
      at = child;
    }
    this.items[at] = last;
    return top;
  }
}
