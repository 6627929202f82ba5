import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { node } from '../../../models/onnx/graph.js';
import { tensorFromNpy } from '../../../models/tensors/npy.js';
import { elementCount, float32, type Tensor } from '../../../models/tensors/tensor.js';
import {
  addConstant,
  appendWeightedSum,
  asFloat32Copy,
  differentiate,
  graphOf,
  maxAbsDifference,
  runGraph,
} from './train-graph.js';

const LSQ = join(import.meta.dirname, '../../golden/gradients/lsq');

/** Of an element, and of a sum relative to the sum of its terms' magnitudes: float32 arithmetic (golden README). */
const TOLERANCE = 1e-5;

interface LsqFacts {
  readonly shape: readonly number[];
  readonly axis: number | null;
  readonly Qn: number;
  readonly Qp: number;
  readonly elements_exactly_on_clip_boundary: number;
}

interface LsqCase {
  readonly facts: LsqFacts;
  readonly x: Tensor;
  /** One scale per element of `scaleDims`, which broadcasts to x. */
  readonly scale: Tensor;
  readonly gradY: Tensor;
  read(file: string): Float64Array;
}

function lsqCase(name: string): LsqCase {
  const read = (file: string) => tensorFromNpy(readFileSync(join(LSQ, name, `${file}.npy`)));
  const facts = JSON.parse(readFileSync(join(LSQ, name, 'case.json'), 'utf8')) as LsqFacts;
  const flat = asFloat32Copy(read('scale'));
  const dims = facts.axis === null ? [] : facts.shape.map((dim, axis) => (axis === facts.axis ? dim : 1));
  return {
    facts,
    x: asFloat32Copy(read('x')),
    scale: float32(dims, flat.data),
    gradY: asFloat32Copy(read('grad_y')),
    read: (file) => Float64Array.from(read(file).data as Float64Array),
  };
}

/** y = s · round(clip(x / s)) with loss = Σ grad_y · y, differentiated by x and s. */
async function quantizerGradients(golden: LsqCase, order: readonly ['Clip' | 'Round', 'Clip' | 'Round']) {
  const graph = graphOf({ x: golden.x.dims, s: golden.scale.dims });
  addConstant(graph, 'low', float32([], [-golden.facts.Qn]));
  addConstant(graph, 'high', float32([], [golden.facts.Qp]));
  const inputs = (op: string, value: string) => (op === 'Clip' ? [value, 'low', 'high'] : [value]);
  graph.insertNodes([
    node('Div', ['x', 's'], ['v'], { name: 'div' }),
    node(order[0], inputs(order[0], 'v'), ['inner'], { name: 'inner' }),
    node(order[1], inputs(order[1], 'inner'), ['q'], { name: 'outer' }),
    node('Mul', ['q', 's'], ['y'], { name: 'mul' }),
  ]);
  appendWeightedSum(graph, new Map([['y', golden.gradY]]));
  const gradients = differentiate(graph, ['x', 's'], {}, ['y']);
  const feeds = new Map<string, Tensor>([
    ['x', golden.x],
    ['s', golden.scale],
  ]);
  const results = await runGraph(graph, feeds);
  const of = (name: string) => results.get(name)?.data as Float32Array;
  return { y: of('y'), x: of(gradients.get('x') ?? ''), s: of(gradients.get('s') ?? ''), graph };
}

/** Index of the scale of an element, row-major. */
function scaleIndex(facts: LsqFacts, element: number): number {
  if (facts.axis === null) return 0;
  const inner = elementCount(facts.shape.slice(facts.axis + 1));
  return Math.floor(element / inner) % (facts.shape[facts.axis] ?? 1);
}

const CASES = readdirSync(LSQ);

describe('learned step size quantization without a rule of its own', () => {
  it('covers all six cases', () => expect(CASES).toHaveLength(6));

  it.each(CASES)('%s: Div, Clip, Round, Mul give the gradients of the paper', async (name) => {
    const golden = lsqCase(name);
    const { facts } = golden;
    const actual = await quantizerGradients(golden, ['Clip', 'Round']);
    expect(maxAbsDifference(actual.y, golden.read('y'))).toBeLessThanOrEqual(TOLERANCE);

    // Exactly on a clip boundary the paper counts the element as outside, a clip includes its bounds: there x gets the whole
    // gradient and the scale none (round(v) − v = 0). These few elements are moved to the paper's side before comparing.
    const gradX = golden.read('grad_x');
    const slopes = golden.read('grad_scale_elementwise');
    const sums = golden.read('grad_scale_raw');
    const magnitudes = new Float64Array(sums.length);
    let boundary = 0;
    for (const [element, x] of (golden.x.data as Float32Array).entries()) {
      const at = scaleIndex(facts, element);
      const v = x / (golden.scale.data[at] as number);
      const gradY = golden.gradY.data[element] as number;
      const term = (slopes[element] ?? 0) * gradY;
      if (v === -facts.Qn || v === facts.Qp) {
        boundary += 1;
        expect(gradX[element] === 0).toBe(true);
        gradX[element] = gradY;
        sums[at] = (sums[at] ?? 0) - term;
      } else {
        magnitudes[at] = (magnitudes[at] ?? 0) + Math.abs(term);
      }
    }
    expect(boundary).toBe(facts.elements_exactly_on_clip_boundary);
    for (const [element, expected] of gradX.entries()) {
      const error = Math.abs((actual.x[element] ?? Number.NaN) - expected);
      expect(error).toBeLessThanOrEqual(TOLERANCE * Math.abs(expected));
    }
    for (const [at, expected] of sums.entries()) {
      const error = Math.abs((actual.s[at] ?? Number.NaN) - expected);
      expect(error).toBeLessThanOrEqual(TOLERANCE * (magnitudes[at] ?? 0));
    }
  });

  it('Div, Round, Clip, Mul compute the same values but let gradients half a step past the range', async () => {
    const golden = lsqCase('tensor_signed4');
    const clipFirst = await quantizerGradients(golden, ['Clip', 'Round']);
    const roundFirst = await quantizerGradients(golden, ['Round', 'Clip']);
    expect(maxAbsDifference(clipFirst.y, roundFirst.y)).toBe(0);
    const scale = golden.scale.data[0] as number;
    for (const [element, x] of (golden.x.data as Float32Array).entries()) {
      const code = Math.round(x / scale);
      const past = x / scale > golden.facts.Qp || x / scale < -golden.facts.Qn;
      const differs = clipFirst.x[element] !== roundFirst.x[element];
      const halfPast = past && code <= golden.facts.Qp && code >= -golden.facts.Qn;
      expect(differs, `element ${element} at ${x / scale}`).toBe(halfPast && golden.gradY.data[element] !== 0);
    }
  });

  it('cancels the scale: the gradient of x is one comparison and one choice', async () => {
    const { graph } = await quantizerGradients(lsqCase('tensor_signed4'), ['Clip', 'Round']);
    const backward = graph.nodes.filter((made) => made.name.startsWith('grad')).map((made) => made.opType);
    expect(backward.filter((opType) => opType === 'Div')).toEqual([]);
    expect(backward.filter((opType) => opType === 'Where')).toHaveLength(1);
    expect(backward.filter((opType) => opType === 'Equal')).toHaveLength(1);
  });
});
