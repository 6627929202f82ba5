import { bytesFromTensor, float32, int64, type Tensor } from '../tensors/tensor.js';
import { type Attribute, type Graph, initializerFromTensor, type Node, node } from './graph.js';

/**
 * Appends nodes to a graph under short unique names: node and value `n` of scope `s` are both called `s.n`. Nodes are
 * appended at the end; callers finish with `sortTopologically`. Equal constants share one initializer.
 */
export class NodeEmitter {
  private readonly constants = new Map<string, string>();
  private readonly taken = new Set<string>();
  private scope: string;

  constructor(
    readonly graph: Graph,
    scope: string,
  ) {
    this.scope = scope;
    for (const name of graph.initializers.keys()) this.taken.add(name);
    for (const input of graph.inputs) this.taken.add(input.name);
    for (const each of graph.nodes) {
      this.taken.add(each.name);
      for (const output of each.outputs) this.taken.add(output);
    }
  }

  /** Later names start with `scope`. */
  at(scope: string): this {
    this.scope = scope;
    return this;
  }

  /** Appends one node with one output and returns the output's name. */
  emit(opType: string, inputs: readonly string[], attributes: Record<string, Attribute> = {}, label?: string): string {
    const name = this.unique(label ?? opType.toLowerCase());
    this.graph.nodes.push(node(opType, [...inputs], [name], { name, attributes }));
    this.graph.invalidate();
    return name;
  }

  /** Appends a copy of a node that reads other values; returns the names of its outputs, '' for omitted ones. */
  copy(of: Node, inputs: readonly string[]): string[] {
    const name = this.unique(of.name);
    const outputs = of.outputs.map((output) => (output === '' ? '' : this.unique(output)));
    this.graph.nodes.push({ ...of, name, inputs: [...inputs], outputs, attributes: new Map(of.attributes) });
    this.graph.invalidate();
    return outputs;
  }

  /** An initializer with these contents. Without a `label`, small constants with the same bits share one. */
  constant(value: Tensor, label?: string): string {
    if (label !== undefined) return this.graph.addInitializer(initializerFromTensor(this.unique(label), value));
    const key = `${value.type}[${value.dims.join(',')}]${bytesFromTensor(value).join(',')}`;
    const known = this.constants.get(key);
    if (known !== undefined) return known;
    const held = this.scope;
    this.scope = 'k';
    const name = this.unique(String(this.constants.size));
    this.scope = held;
    this.graph.addInitializer(initializerFromTensor(name, value));
    this.constants.set(key, name);
    return name;
  }

  scalar(value: number): string {
    return this.constant(float32([], [value]));
  }

  int64s(values: readonly number[]): string {
    return this.constant(int64([values.length], values));
  }

  /** `scope.label`, or `scope.label_1`, … when that is taken. */
  unique(label: string): string {
    const wanted = `${this.scope}.${label}`;
    let name = wanted;
    for (let suffix = 1; this.taken.has(name); suffix += 1) name = `${wanted}_${suffix}`;
    this.taken.add(name);
    return name;
  }
}
