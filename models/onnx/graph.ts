import type { Tensor } from '../tensors/tensor.js';

/**
 * The editable in-memory form of an ONNX graph. `graphFromModel` / `modelFromGraph` (model-proto.ts) convert it from and to
 * the wire format; whatever the Graph does not model (unknown fields, metadata, functions, quantization annotations) travels
 * along in the ModelProto it came from.
 */

/** ONNX TensorProto.DataType codes used in casts and type information. */
export const DATA_TYPE = {
  float32: 1,
  uint8: 2,
  int8: 3,
  uint16: 4,
  int16: 5,
  int32: 6,
  int64: 7,
  string: 8,
  bool: 9,
  float16: 10,
  float64: 11,
  uint32: 12,
  uint64: 13,
  complex64: 14,
  complex128: 15,
  bfloat16: 16,
  float8e4m3fn: 17,
  float8e4m3fnuz: 18,
  float8e5m2: 19,
  float8e5m2fnuz: 20,
  uint4: 21,
  int4: 22,
  float4e2m1: 23,
  float8e8m0: 24,
  uint2: 25,
  int2: 26,
} as const;

export type DataTypeName = keyof typeof DATA_TYPE;

/** A dimension: a number, a symbolic name, or null when unknown. */
export type Dim = number | string | null;

export interface ValueInfo {
  readonly name: string;
  readonly type: DataTypeName;
  /** null: unknown rank. */
  readonly shape: readonly Dim[] | null;
}

/** Constant data. `raw` is the ONNX raw_data encoding (int4: two elements a byte, low nibble first). */
export interface Initializer {
  readonly name: string;
  readonly type: DataTypeName;
  readonly dims: readonly number[];
  readonly raw: Uint8Array;
}

export type Attribute =
  | { readonly kind: 'int'; readonly value: number }
  | { readonly kind: 'float'; readonly value: number }
  | { readonly kind: 'string'; readonly value: string }
  | { readonly kind: 'ints'; readonly value: readonly number[] }
  | { readonly kind: 'floats'; readonly value: readonly number[] }
  | { readonly kind: 'strings'; readonly value: readonly string[] }
  | { readonly kind: 'tensor'; readonly value: Initializer }
  /** Anything else (subgraphs, type protos, sparse tensors): kept as its wire message. */
  | { readonly kind: 'opaque'; readonly value: unknown };

export interface Node {
  name: string;
  opType: string;
  /** '' is the standard domain. */
  domain: string;
  /** '' marks an omitted optional input. */
  inputs: string[];
  outputs: string[];
  attributes: Map<string, Attribute>;
  /** The wire message it was read from, so that fields the Graph does not model survive. */
  source?: unknown;
}

/** A mutable graph with unique value names, kept in topological order. */
export class Graph {
  name = 'graph';
  /** Opset version of the standard domain; other domains in `opsets`. */
  opset = 21;
  opsets = new Map<string, number>();
  nodes: Node[] = [];
  inputs: ValueInfo[] = [];
  outputs: ValueInfo[] = [];
  initializers = new Map<string, Initializer>();
  /** Types and shapes of inner values, from the file or from shape inference. */
  valueInfos = new Map<string, ValueInfo>();
  /** The ModelProto it was read from. */
  source?: unknown;

  /** Copies structure; constant bytes are shared. */
  clone(): Graph {
    const copy = new Graph();
    copy.name = this.name;
    copy.opset = this.opset;
    copy.opsets = new Map(this.opsets);
    copy.nodes = this.nodes.map((node) => ({
      ...node,
      inputs: [...node.inputs],
      outputs: [...node.outputs],
      attributes: new Map(node.attributes),
    }));
    copy.inputs = [...this.inputs];
    copy.outputs = [...this.outputs];
    copy.initializers = new Map(this.initializers);
    copy.valueInfos = new Map(this.valueInfos);
    copy.source = this.source;
    return copy;
  }

  /** The node that computes `value`, or undefined for inputs and initializers. */
  producerOf(value: string): Node | undefined {
    return this.index().producers.get(value);
  }

  /** The nodes that read `value`, in graph order. */
  consumersOf(value: string): readonly Node[] {
    return this.index().consumers.get(value) ?? [];
  }

  nodeByName(name: string): Node | undefined {
    return this.index().byName.get(name);
  }

  hasValue(name: string): boolean {
    const index = this.index();
    return index.producers.has(name) || this.initializers.has(name) || this.inputs.some((input) => input.name === name);
  }

  /** `wanted`, or `wanted_1`, `wanted_2`… : a name no value and no node has. */
  uniqueName(wanted: string): string {
    if (!this.hasValue(wanted) && this.index().byName.get(wanted) === undefined) return wanted;
    for (let suffix = 1; ; suffix += 1) {
      const candidate = `${wanted}_${suffix}`;
      if (!this.hasValue(candidate) && this.index().byName.get(candidate) === undefined) return candidate;
    }
  }

  /** Appends nodes at the end, or before `anchor`. Callers keep topological order or call `sortTopologically`. */
  insertNodes(nodes: readonly Node[], before?: Node): void {
    const at = before === undefined ? this.nodes.length : this.nodes.indexOf(before);
    if (at < 0) throw new Error(`insertNodes: node ${before?.name} is not in the graph`);
    this.nodes.splice(at, 0, ...nodes);
    this.invalidate();
  }

  removeNodes(nodes: Iterable<Node>): void {
    const doomed = new Set(nodes);
    this.nodes = this.nodes.filter((node) => !doomed.has(node));
    this.invalidate();
  }

  addInitializer(initializer: Initializer): string {
    this.initializers.set(initializer.name, initializer);
    return initializer.name;
  }

  /** Makes every reader of `from` (and graph outputs, when asked) read `to`; `except` keeps reading `from`. */
  replaceUses(from: string, to: string, except: ReadonlySet<Node> = new Set()): void {
    for (const node of this.nodes) {
      if (!except.has(node)) node.inputs = node.inputs.map((input) => (input === from ? to : input));
    }
    this.invalidate();
  }

  /** Must be called after editing `nodes` or their inputs/outputs directly. */
  invalidate(): void {
    this.cachedIndex = undefined;
  }

  private cachedIndex: GraphIndex | undefined;

  private index(): GraphIndex {
    this.cachedIndex ??= indexGraph(this.nodes);
    return this.cachedIndex;
  }
}

interface GraphIndex {
  readonly producers: ReadonlyMap<string, Node>;
  readonly consumers: ReadonlyMap<string, readonly Node[]>;
  readonly byName: ReadonlyMap<string, Node>;
}

function indexGraph(nodes: readonly Node[]): GraphIndex {
  const producers = new Map<string, Node>();
  const consumers = new Map<string, Node[]>();
  const byName = new Map<string, Node>();
  for (const node of nodes) {
    byName.set(node.name, node);
    for (const output of node.outputs) if (output !== '') producers.set(output, node);
    for (const input of new Set(node.inputs)) {
      if (input === '') continue;
      const readers = consumers.get(input);
      if (readers === undefined) consumers.set(input, [node]);
      else readers.push(node);
    }
  }
  return { producers, consumers, byName };
}

/** A node literal; attributes are given as plain values (integers → int, use `floatAttribute` for a float). */
export function node(
  opType: string,
  inputs: string[],
  outputs: string[],
  options: { name: string; attributes?: Record<string, Attribute>; domain?: string },
): Node {
  return {
    name: options.name,
    opType,
    domain: options.domain ?? '',
    inputs,
    outputs,
    attributes: new Map(Object.entries(options.attributes ?? {})),
  };
}

export const attribute = {
  int: (value: number): Attribute => ({ kind: 'int', value }),
  float: (value: number): Attribute => ({ kind: 'float', value }),
  string: (value: string): Attribute => ({ kind: 'string', value }),
  ints: (value: readonly number[]): Attribute => ({ kind: 'ints', value }),
  floats: (value: readonly number[]): Attribute => ({ kind: 'floats', value }),
  tensor: (value: Initializer): Attribute => ({ kind: 'tensor', value }),
};

/** Integer attribute with default. */
export function intAttribute(of: Node, name: string, fallback: number): number {
  const found = of.attributes.get(name);
  return found?.kind === 'int' ? found.value : fallback;
}

export function floatAttribute(of: Node, name: string, fallback: number): number {
  const found = of.attributes.get(name);
  return found?.kind === 'float' ? found.value : fallback;
}

export function intsAttribute(of: Node, name: string): readonly number[] | undefined {
  const found = of.attributes.get(name);
  return found?.kind === 'ints' ? found.value : undefined;
}

export function stringAttribute(of: Node, name: string, fallback: string): string {
  const found = of.attributes.get(name);
  return found?.kind === 'string' ? found.value : fallback;
}

/** An initializer holding a tensor's bytes. */
export function initializerFromTensor(name: string, value: Tensor): Initializer {
  const raw = new Uint8Array(value.data.buffer, value.data.byteOffset, value.data.byteLength);
  return { name, type: value.type, dims: value.dims, raw };
}
