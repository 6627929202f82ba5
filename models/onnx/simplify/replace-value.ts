import type { Graph } from '../graph.js';
import { outerScopeReads } from '../subgraph-reads.js';

/** Values whose names must stay: graph outputs and values that subgraphs read. */
export function fixedNames(graph: Graph): ReadonlySet<string> {
  return new Set([...graph.outputs.map((output) => output.name), ...outerScopeReads(graph)]);
}

/** Collects replacements of values and applies them in one pass over the graph. */
export class Replacements {
  private readonly byValue = new Map<string, string>();

  constructor(private readonly graph: Graph) {}

  get size(): number {
    return this.byValue.size;
  }

  /** Makes readers of `from` read `to`. */
  add(from: string, to: string): void {
    this.byValue.set(from, to);
  }

  /** What stands for `value` now. */
  of(value: string): string {
    let current = value;
    for (let next = this.byValue.get(current); next !== undefined; next = this.byValue.get(current)) current = next;
    return current;
  }

  apply(): void {
    if (this.byValue.size === 0) return;
    for (const node of this.graph.nodes) node.inputs = node.inputs.map((input) => this.of(input));
    this.graph.invalidate();
  }
}
