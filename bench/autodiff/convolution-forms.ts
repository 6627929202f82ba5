import { Expressions, type Value } from '../../models/autodiff/expressions.js';
import type { ConvolutionGeometry } from '../../models/autodiff/rules/convolution-geometry.js';
import { chooseInputForm, INPUT_FORMS } from '../../models/autodiff/rules/convolution-inputs.js';
import { chooseWeightForm, WEIGHT_FORMS } from '../../models/autodiff/rules/convolution-weights.js';
import { attribute, Graph, node } from '../../models/onnx/graph.js';
import { inferShapes } from '../../models/onnx/shape-inference.js';
import { gaussianTensor } from '../../models/tensors/random.js';
import { type Duration, interleaved, timed } from './timing.js';
import { openStep } from './zoo-step.js';

/** What each form of the gradients of a convolution costs, relative to the convolution itself. */

/** [N, C, H, M, kernel, stride] with square images: the zoo UNet's at batch 8, and one of Stable Diffusion's. */
const SHAPES: readonly (readonly [number, number, number, number, number, number])[] = [
  [8, 12, 16, 64, 3, 1],
  [8, 64, 16, 64, 3, 1],
  [8, 64, 16, 64, 3, 2],
  [8, 64, 8, 128, 3, 1],
  [8, 128, 8, 128, 3, 1],
  [8, 256, 8, 128, 3, 1],
  [8, 128, 16, 128, 3, 1],
  [8, 192, 16, 64, 3, 1],
  [8, 64, 16, 12, 3, 1],
  [8, 192, 16, 64, 1, 1],
  [8, 64, 8, 128, 1, 1],
  [1, 320, 32, 320, 3, 1],
];

interface Contestant {
  readonly title: string;
  readonly write: (e: Expressions, x: Value, w: Value, g: Value) => Value;
}

/** Lines of a table: shape, then every form that applies, the chosen ones with a star. */
export async function convolutionFormsTable(threads: number, rounds: number): Promise<string[]> {
  const lines: string[] = [];
  for (const [samples, channels, size, outputs, kernel, stride] of SHAPES) {
    const pad = (kernel - 1) / 2;
    const geometry: ConvolutionGeometry = {
      kernel: [kernel, kernel],
      strides: [stride, stride],
      dilations: [1, 1],
      pads: [pad, pad, pad, pad],
      groups: 1,
    };
    const out = Math.floor((size + 2 * pad - kernel) / stride) + 1;
    const dims = {
      x: [samples, channels, size, size],
      w: [outputs, channels, kernel, kernel],
      g: [samples, outputs, out, out],
    };
    const medians = await measure(dims, contestants(dims, geometry), threads, rounds);
    const forward = medians.get('forward')?.busy ?? Number.NaN;
    const parts = [...medians].slice(1).map(([title, { busy }]) => `${title} ${(busy / forward).toFixed(2)}`);
    lines.push(`${dims.x.join('×')} to ${outputs}, ${kernel}×${kernel}, stride ${stride}: ${parts.join(', ')}`);
  }
  return lines;
}

type Dims = Readonly<Record<'x' | 'w' | 'g', readonly number[]>>;

function contestants(dims: Dims, geometry: ConvolutionGeometry): Contestant[] {
  const value = (name: keyof Dims): Value => ({ name, type: 'float32', dims: dims[name] });
  const chosen: ReadonlySet<string> = new Set([
    chooseInputForm(value('w'), dims.x, geometry, false),
    chooseWeightForm(value('x'), value('g'), geometry),
  ]);
  const title = (kind: string, name: string) => `${kind} ${name}${chosen.has(name) ? '*' : ''}`;
  const attributes = { pads: attribute.ints(geometry.pads), strides: attribute.ints(geometry.strides) };
  const forward: Contestant = { title: 'forward', write: (e, x, w) => e.emit('Conv', [x, w], dims.g, { attributes }) };
  const inputs = Object.entries(INPUT_FORMS)
    .filter(([, form]) => form.applies(geometry))
    .map(([name, form]) => ({
      title: title('dX', name),
      write: (e: Expressions, _: Value, w: Value, g: Value) => form.write(e, g, w, dims.x, geometry),
    }));
  const weights = Object.entries(WEIGHT_FORMS)
    .filter(([, form]) => form.applies(geometry))
    .map(([name, form]) => ({
      title: title('dW', name),
      write: (e: Expressions, x: Value, _: Value, g: Value) => form.write(e, x, g, geometry),
    }));
  return [forward, ...inputs, ...weights];
}

async function measure(
  dims: Dims,
  forms: readonly Contestant[],
  threads: number,
  rounds: number,
): Promise<Map<string, Duration>> {
  const feeds = new Map(Object.entries(dims).map(([name, shape], at) => [name, gaussianTensor(1, at, shape)] as const));
  const opened = await Promise.all(forms.map((form) => openStep(formGraph(dims, form), feeds, threads)));
  const runs = new Map(forms.map(({ title }, at) => [title, () => timed(async () => opened[at]?.run())] as const));
  const medians = await interleaved(runs, rounds);
  for (const session of opened) await session.release();
  return medians;
}

/** The form's result is reduced to one number, so that copying it out costs the same for all. */
function formGraph(dims: Dims, { write }: Contestant): Graph {
  const graph = new Graph();
  graph.opset = 17;
  graph.inputs = Object.entries(dims).map(([name, shape]) => ({ name, type: 'float32', shape }));
  const e = new Expressions(graph, inferShapes(graph));
  e.scope = 'form';
  const { name } = write(e, e.value('x'), e.value('w'), e.value('g'));
  graph.insertNodes(e.nodes);
  const keepdims = attribute.int(0);
  graph.insertNodes([node('ReduceMax', [name], ['largest'], { name: 'largest', attributes: { keepdims } })]);
  graph.outputs = [{ name: 'largest', type: 'float32', shape: [] }];
  return graph;
}
