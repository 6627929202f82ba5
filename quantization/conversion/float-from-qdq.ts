import { NibbleflowError } from '../../contracts/errors.js';
import {
  DATA_TYPE,
  type Graph,
  type Initializer,
  initializerFromTensor,
  intAttribute,
  type Node,
} from '../../models/onnx/graph.js';
import { NodeEmitter } from '../../models/onnx/node-emitter.js';
import { removeDeadCode } from '../../models/onnx/remove-dead-code.js';
import type { Shapes } from '../../models/onnx/shape-inference.js';
import { sortTopologically } from '../../models/onnx/sort-topologically.js';
import { tensorFromInitializer } from '../../models/onnx/tensor-from-initializer.js';
import { asFloat32, elementCount, float32 } from '../../models/tensors/tensor.js';
import { codeRange, dequantize, type IntegerGrid } from '../formats/integer-grid.js';
import { unpackNibbles } from '../formats/pack.js';

/**
 * A converted denoiser in float arithmetic, for providers without 4-bit types (WebGPU):
 *
 *   DequantizeLinear of constant codes  → a float constant
 *   QuantizeLinear(x, s, z)             → c = round(clamp(x / s, min − z, max − z))
 *   DequantizeLinear(c, s, z)           → c · s
 *
 * Codes equal QuantizeLinear's: both divide in float32 and round half to even. Zero points become whole floats.
 * @param shapes of the converted graph, for any batch
 * @throws NibbleflowError InvalidModel for a grid that conversion does not make
 */
export function floatFromQdq(converted: Graph, shapes: Shapes): Graph {
  const graph = converted.clone();
  const rewriter = new Rewriter(graph, shapes);
  for (const node of converted.nodes) rewriter.rewrite(node);
  rewriter.connect();
  graph.removeNodes(graph.nodes.filter(({ opType }) => opType === 'QuantizeLinear' || opType === 'DequantizeLinear'));
  graph.valueInfos.clear();
  sortTopologically(graph);
  removeDeadCode(graph);
  return graph;
}

/** 1.5 · 2²³: adding and subtracting it rounds |x| ≤ 2²² to the nearest whole number, ties to even; WebGPU has no Round. */
const ROUNDING_SHIFT = 12_582_912;

class Rewriter {
  private readonly emitter: NodeEmitter;
  /** Value of the converted graph → what takes its place. */
  private readonly replaced = new Map<string, string>();
  private readonly zeros = new Map<string, string>();

  constructor(
    private readonly graph: Graph,
    private readonly shapes: Shapes,
  ) {
    this.emitter = new NodeEmitter(graph, 'f');
  }

  rewrite(node: Node): void {
    const [value = '', scale = ''] = node.inputs;
    const [output = ''] = node.outputs;
    const codes = this.graph.initializers.get(value);
    if (node.opType === 'DequantizeLinear' && codes !== undefined) this.constant(node, codes);
    else if (node.opType === 'DequantizeLinear') {
      const spread = this.spread(node, this.current(scale), this.shapes.dimsOf(output));
      this.replaced.set(output, this.emitter.emit('Mul', [this.current(value), spread], {}, 'value'));
    } else if (node.opType === 'QuantizeLinear') {
      this.replaced.set(output, this.codesOf(node));
    }
  }

  /** Makes every node read what took the place of its inputs; call it last. */
  connect(): void {
    for (const node of this.graph.nodes) node.inputs = node.inputs.map((input) => this.current(input));
    this.graph.invalidate();
  }

  private current(name: string): string {
    return this.replaced.get(name) ?? name;
  }

  private constant(node: Node, codes: Initializer): void {
    const [, scaleName = ''] = node.inputs;
    const [output = ''] = node.outputs;
    const scaleInitializer = this.graph.initializers.get(scaleName);
    if (scaleInitializer === undefined || node.inputs[2] !== undefined) throw unknownGrid(node);
    const scale = asFloat32(tensorFromInitializer(scaleInitializer));
    const blockSize = intAttribute(node, 'block_size', 0);
    const axis = scale.dims.length === 0 ? null : intAttribute(node, 'axis', 1);
    const grid = { bits: 8, signed: true, scale, zeroPoint: null, axis, blockSize: blockSize === 0 ? null : blockSize };
    this.graph.addInitializer(initializerFromTensor(output, dequantize(codesOf(codes), codes.dims, grid)));
  }

  /** Centred codes c, so that x̂ = c · s. */
  private codesOf(node: Node): string {
    const [value = '', scale = '', zero = ''] = node.inputs;
    const dims = this.shapes.dimsOf(value);
    const steps = this.emitter.emit('Div', [this.current(value), this.spread(node, this.current(scale), dims)]);
    const { min, max } = codeRange(this.gridOf(node));
    const shift = this.emitter.scalar(ROUNDING_SHIFT);
    let clamped: string;
    if (zero === '') clamped = this.emitter.emit('Clip', [steps, this.emitter.scalar(min), this.emitter.scalar(max)]);
    else {
      const zeroPoint = this.spread(node, this.floatZero(zero), dims);
      const bound = (code: number): string => this.emitter.emit('Sub', [this.emitter.scalar(code), zeroPoint]);
      clamped = this.emitter.emit('Min', [this.emitter.emit('Max', [steps, bound(min)]), bound(max)]);
    }
    return this.emitter.emit('Sub', [this.emitter.emit('Add', [clamped, shift]), shift], {}, 'codes');
  }

  private gridOf(node: Node): IntegerGrid {
    const [, , zero = ''] = node.inputs;
    const code = intAttribute(node, 'output_dtype', 0);
    const type = zero === '' ? Object.entries(DATA_TYPE).find(([, id]) => id === code)?.[0] : this.shapes.typeOf(zero);
    const found = GRIDS[type ?? 'uint8'];
    if (found === undefined) throw unknownGrid(node);
    return found;
  }

  /** A scale or zero point (`name`, a value of the new graph) under dims that broadcast against the value's. */
  private spread(node: Node, name: string, dims: readonly number[]): string {
    const [, scale = ''] = node.inputs;
    const own = this.shapes.dimsOf(scale);
    if (intAttribute(node, 'block_size', 0) > 0) {
      if (own.length === dims.length && own.every((dim, axis) => dim === 1 || dim === dims[axis])) return name;
      throw unknownGrid(node);
    }
    if (own.length === 0 || elementCount(own) === 1) return name;
    const axis = (intAttribute(node, 'axis', 1) + dims.length) % dims.length;
    const target = dims.map((_, at) => (at === axis ? -1 : 1));
    return this.emitter.emit('Reshape', [name, this.emitter.int64s(target)]);
  }

  /** The float value of a zero point: what computes it, without casts to integers and on float tables. */
  private floatZero(name: string): string {
    const known = this.zeros.get(name);
    if (known !== undefined) return known;
    const made = this.makeFloatZero(name);
    this.zeros.set(name, made);
    return made;
  }

  private makeFloatZero(name: string): string {
    const table = this.graph.initializers.get(name);
    if (table !== undefined) {
      const values = Array.from(tensorFromInitializer(table).data as ArrayLike<number>, Number);
      return this.emitter.constant(float32(table.dims, values), 'zeros');
    }
    const producer = this.graph.producerOf(name);
    if (producer === undefined || !(producer.opType in PASSED)) return this.current(name);
    const [source = '', ...rest] = producer.inputs;
    const float = this.floatZero(source);
    if (producer.opType === 'Cast') return float;
    return this.emitter.emit(
      producer.opType,
      [float, ...rest.map((input) => this.current(input))],
      Object.fromEntries(producer.attributes),
      'zero',
    );
  }
}

/** What conversion puts between a table of zero points and the node that reads one. */
const PASSED = { Cast: true, Gather: true, Reshape: true } as const;

const GRIDS: Readonly<Record<string, IntegerGrid>> = {
  int4: { bits: 4, signed: true },
  uint4: { bits: 4, signed: false },
  int8: { bits: 8, signed: true },
  uint8: { bits: 8, signed: false },
};

function codesOf({ type, dims, raw }: Initializer): Int8Array {
  if (type === 'int4') return unpackNibbles(raw, elementCount(dims), true);
  return new Int8Array(raw.buffer, raw.byteOffset, raw.byteLength);
}

function unknownGrid(node: Node): NibbleflowError {
  return new NibbleflowError('InvalidModel', `${node.opType} has a grid that cannot be written in float arithmetic`, {
    where: `node ${node.name}`,
  });
}
