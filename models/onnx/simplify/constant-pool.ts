import { elementCount, type Tensor } from '../../tensors/tensor.js';
import { type Graph, type Initializer, initializerFromTensor } from '../graph.js';
import { LARGEST_CONSTANT } from '../shapes/shape-rule.js';

/**
 * Shared initializers for constants that are no parameters: equal contents get one initializer with a short name.
 * Initializers that the graph had before are never merged.
 */
export class ConstantPool {
  private readonly names = new Map<string, string>();

  constructor(private readonly graph: Graph) {}

  /** The name of an initializer with these contents; `wanted` is used for large ones, which are not shared. */
  add(initializer: Omit<Initializer, 'name'>, wanted: string): string {
    const { type, dims, raw } = initializer;
    if (elementCount(dims) > LARGEST_CONSTANT) return this.graph.addInitializer({ type, dims, raw, name: wanted });
    const key = contentKey({ type, dims, raw });
    const known = this.names.get(key);
    if (known !== undefined && this.graph.initializers.has(known)) return known;
    const name = this.graph.uniqueName(`const_${this.names.size}`);
    this.names.set(key, name);
    return this.graph.addInitializer({ type, dims, raw, name });
  }

  addTensor(value: Tensor, wanted: string): string {
    return this.add(initializerFromTensor(wanted, value), wanted);
  }
}

/** Equal for equal contents only. */
export function contentKey({ type, dims, raw }: Omit<Initializer, 'name'>): string {
  let bytes = '';
  for (const byte of raw) bytes += String.fromCharCode(byte);
  return `${type}[${dims.join()}]${bytes}`;
}
