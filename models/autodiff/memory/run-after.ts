import { attribute, DATA_TYPE } from '../../onnx/graph.js';
import type { NodeEmitter } from '../../onnx/node-emitter.js';

/**
 * Order without arithmetic. onnxruntime runs a node as late as its first reader needs it and merges equal nodes, so what is
 * to be computed a second time, or early, has to depend on something: `after(value, dims, token)` is `value`, bit for bit,
 * but not before `token` is there: it is expanded to dims + 0 · ⌊token₀⌋, in integers. (A Reshape would not even copy, but
 * onnxruntime 1.30 merges neighbouring reshapes and then cannot find the dims that are no constant.)
 */
export class RunAfter {
  private readonly zeros = new Map<string, string>();

  /** Nodes are appended to the emitter's graph: callers sort it in the end. */
  constructor(private readonly emitter: NodeEmitter) {}

  /** `token`: any tensor of numbers or booleans with at least one element. */
  after(value: string, dims: readonly number[], token: string): string {
    if (dims.length === 0) return value;
    const shape = this.emitter.emit('Add', [this.zero(token), this.emitter.int64s(dims)], {}, 'dims');
    return this.emitter.emit('Expand', [value, shape], {}, 'value');
  }

  /** An int64 zero [1] that is there when the token is. */
  private zero(token: string): string {
    const known = this.zeros.get(token);
    if (known !== undefined) return known;
    const { emitter } = this;
    const flat = emitter.emit('Reshape', [token, emitter.int64s([-1])]);
    const first = emitter.emit('Slice', [flat, emitter.int64s([0]), emitter.int64s([1])]);
    const whole = emitter.emit('Cast', [first], { to: attribute.int(DATA_TYPE.int64) });
    const zero = emitter.emit('Mul', [whole, emitter.int64s([0])]);
    this.zeros.set(token, zero);
    return zero;
  }
}
