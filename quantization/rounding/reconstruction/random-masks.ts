import { attribute, DATA_TYPE } from '../../../models/onnx/graph.js';
import type { NodeEmitter } from '../../../models/onnx/node-emitter.js';
import { philox4x32, uniforms } from '../../../models/tensors/random.js';
import { elementCount, type Float32Tensor, float32, int64, type Tensor } from '../../../models/tensors/tensor.js';

/**
 * Random masks inside a training graph that any step can draw again. Numbers come from one tape of uniforms, made once; a
 * mask reads as many of them as it has elements, from a place that is drawn anew at every step:
 *
 *   mask[i] = tape[w · o + i] ≥ p,   o = offset of this mask at this step,  w = gcd(elements, 64)
 *
 * Tape and offsets are functions of the seed, offsets of the step as well, so a run that goes on from a checkpoint draws what
 * an undisturbed one draws. Drawing every element anew would cost more than the training step that needs it.
 */
export const MASK_INPUTS = { tape: 'random/tape', offsets: 'random/offsets' } as const;

const STREAM = { tape: 7, offsets: 1_000_000 } as const;
/** Longest run of elements that always stay beside each other. */
const LARGEST_WIDTH = 64;
/** The tape has this many numbers for each element of the largest mask, at least the second of these in all. */
const TAPE_FACTOR = 2;
const SHORTEST_TAPE = 2 ** 18;
/** Numbers have 16 bits: a block of the generator makes eight. */
const BITS = 16;

/** The masks of one graph. Emit all of them, then `tape` and `offsets` say what a session and a step feed. */
export class RandomMasks {
  private readonly masks: { readonly rows: number; readonly width: number }[] = [];

  constructor(private readonly emitter: NodeEmitter) {}

  /** A float value of `dims`: 0 with probability p, else 1. */
  keep(dims: readonly number[], probability: number): string {
    const { emitter } = this;
    const count = elementCount(dims);
    const width = commonDivisor(count, LARGEST_WIDTH);
    const index = this.masks.push({ rows: count / width, width }) - 1;
    const rows = emitter.constant(
      int64(
        [count / width],
        Array.from({ length: count / width }, (_, row) => row),
      ),
    );
    const position = emitter.emit('Gather', [MASK_INPUTS.offsets, emitter.int64s([index])], { axis: attribute.int(0) });
    const strips = emitter.emit('Reshape', [MASK_INPUTS.tape, emitter.int64s([-1, width])]);
    const at = emitter.emit('Add', [rows, position]);
    const drawn = emitter.emit('Gather', [strips, at], { axis: attribute.int(0) });
    const isKept = emitter.emit('GreaterOrEqual', [drawn, emitter.scalar(probability)]);
    const kept = emitter.emit('Cast', [isKept], { to: attribute.int(DATA_TYPE.float32) });
    return emitter.emit('Reshape', [kept, emitter.int64s(dims)], {}, 'mask');
  }

  /** Declares what the masks read as graph inputs; nothing when there are no masks. */
  declareInputs(): void {
    if (this.masks.length === 0) return;
    this.emitter.graph.inputs.push({ name: MASK_INPUTS.tape, type: 'float32', shape: [this.tapeLength] });
    this.emitter.graph.inputs.push({ name: MASK_INPUTS.offsets, type: 'int64', shape: [this.masks.length] });
  }

  get isEmpty(): boolean {
    return this.masks.length === 0;
  }

  /** The numbers that every step reads. */
  tape(seed: number): Float32Tensor {
    const values = new Float32Array(this.tapeLength);
    const block = new Uint32Array(4);
    for (let at = 0; at < values.length; at += 8) {
      philox4x32([at / 8, STREAM.tape, 0, 0], [seed >>> 0, Math.floor(seed / 2 ** 32)], block);
      block.forEach((word, index) => {
        values[at + 2 * index] = ((word & 0xffff) + 0.5) / 2 ** BITS;
        values[at + 2 * index + 1] = ((word >>> BITS) + 0.5) / 2 ** BITS;
      });
    }
    return float32([values.length], values);
  }

  /** Where each mask reads at a step. */
  offsets(seed: number, step: number): Tensor<'int64'> {
    const drawn = uniforms(seed, STREAM.offsets + step, this.masks.length);
    const places = this.masks.map(({ rows, width }, index) => {
      const possible = this.tapeLength / width - rows + 1;
      return Math.floor((drawn[index] ?? 0) * possible);
    });
    return int64([places.length], places);
  }

  private get tapeLength(): number {
    const largest = Math.max(0, ...this.masks.map(({ rows, width }) => rows * width));
    const wanted = Math.max(SHORTEST_TAPE, TAPE_FACTOR * largest);
    return Math.ceil(wanted / LARGEST_WIDTH) * LARGEST_WIDTH;
  }
}

function commonDivisor(a: number, b: number): number {
  return b === 0 ? a : commonDivisor(b, a % b);
}
