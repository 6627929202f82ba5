import { inFreshProcess, type PeakMemory } from './peak-memory.js';
import type { StepArguments } from './step-arguments.js';
import { buildVariant, VARIANTS, type VariantName } from './step-variants.js';
import { type Duration, interleaved, timed } from './timing.js';
import { TorchStep } from './torch-step.js';
import { openStep, UNET, type ZooStep, zooStep } from './zoo-step.js';

const MEGABYTE = 1e6;

function timeLine(title: string, { busy, wall }: Duration): string {
  return `${title}: ${busy.toFixed(1)} ms of processor time, ${wall.toFixed(1)} ms on the wall`;
}

function memoryLine(title: string, { baseBytes, peakBytes }: PeakMemory): string {
  const [over, peak] = [peakBytes - baseBytes, peakBytes].map((bytes) => (bytes / MEGABYTE).toFixed(0));
  return `${title}: peak memory ${peak} MB, ${over} MB over what was resident before the model was read`;
}

function ratio(a: number, b: number): string {
  return (a / b).toFixed(2);
}

/** The step against torch: time interleaved, memory of fresh processes, and that both compute the same. */
export async function stepLines({ batch, threads, rounds, python }: StepArguments): Promise<string[]> {
  const step = zooStep(batch);
  const built = buildVariant(step, VARIANTS.exact);
  const inputs = new Map([...step.feeds].filter(([name]) => step.inputs.includes(name)));
  const profile = process.env.AUTODIFF_PROFILE;
  const [forward, both] = [
    await openStep(step.graph, step.feeds, threads),
    await openStep(built.graph, step.feeds, threads, profile),
  ];
  const torch = await TorchStep.start(python, UNET, inputs, threads, false);
  const plain = torch === null ? null : await TorchStep.start(python, UNET, inputs, threads, true);
  const contestants = new Map<string, () => Promise<Duration>>([
    ['forward', () => timed(() => forward.run())],
    ['both', () => timed(() => both.run())],
  ]);
  if (torch !== null) contestants.set('torch', () => torch.step());
  if (plain !== null) contestants.set('plain', () => plain.step());
  const medians = await interleaved(contestants, rounds);
  const results = await both.run();
  const norm = built.gradients.reduce((sum, name) => sum + length(results[name]?.data as Float32Array), 0);
  const loss = results.loss?.data[0] as number;
  for (const session of [forward, both]) await session.release();
  const time = (name: string): Duration => medians.get(name) ?? { busy: Number.NaN, wall: Number.NaN };
  const memory = inFreshProcess<object>('exact', batch, threads);
  const lines = [
    `${step.graph.nodes.length} nodes forward, ${built.graph.nodes.length} with ${built.gradients.length} gradients`,
    timeLine('forward', time('forward')),
    timeLine('forward and backward', time('both')),
    memoryLine('forward and backward', memory),
  ];
  if (torch === null || plain === null)
    return [...lines, `torch: not measured (no torch, onnx and numpy in ${python})`];
  const peak = { baseBytes: torch.baseBytes, peakBytes: await torch.peakBytes() };
  for (const process of [torch, plain]) process.stop();
  const over = ({ baseBytes, peakBytes }: PeakMemory) => peakBytes - baseBytes;
  return [
    ...lines,
    timeLine(`torch ${torch.version} with fused normalizations, activations and attention`, time('torch')),
    timeLine('torch, the ONNX graph node by node', time('plain')),
    memoryLine('torch, fused', peak),
    `time, relative to torch: ${ratio(time('both').busy, time('torch').busy)} (node by node: ${ratio(time('both').busy, time('plain').busy)}) of processor time, ${ratio(time('both').wall, time('torch').wall)} (${ratio(time('both').wall, time('plain').wall)}) on the wall`,
    `memory, relative to torch: ${ratio(over(memory), over(peak))} over what was resident before, ${ratio(memory.peakBytes, peak.peakBytes)} in all`,
    `loss ${loss} (torch ${torch.loss}), sum of gradient norms ${norm.toFixed(5)} (torch ${torch.norm.toFixed(5)})`,
  ];
}

/** Memory of a fresh process, time, and the direction of the gradients, of each variant beside the exact step. */
export async function optionLines({ batch, threads, rounds }: StepArguments): Promise<string[]> {
  const step = zooStep(batch);
  const names = Object.keys(VARIANTS) as VariantName[];
  const opened = [];
  for (const name of names) {
    const built = buildVariant(step, VARIANTS[name]);
    const session = await openStep(built.graph, new Map([...step.feeds, ...built.feeds]), threads);
    const results = await session.run();
    const gradients = built.gradients.map((output) => results[output]?.data as Float32Array);
    opened.push({ name, session, gradients });
  }
  const runs = opened.map(({ name, session }) => [name, () => timed(() => session.run())] as const);
  const medians = await interleaved(new Map(runs), rounds);
  const lines: string[] = [];
  for (const { name, session, gradients } of opened) {
    await session.release();
    const memory = inFreshProcess<{ stateBytes: number }>(name, batch, threads);
    const { stateBytes } = memory;
    const state = stateBytes === 0 ? '' : `; moments ${(stateBytes / MEGABYTE).toFixed(1)} MB`;
    const direction = gradients.length === 0 ? '' : `; ${cosines(gradients, opened[0]?.gradients ?? [], step)}`;
    lines.push(
      `${timeLine(name, medians.get(name) ?? { busy: Number.NaN, wall: Number.NaN })}; ${memoryLine('fresh process', memory)}${state}${direction}`,
    );
  }
  return lines;
}

function cosines(found: readonly Float32Array[], exact: readonly Float32Array[], { weights }: ZooStep): string {
  const each = weights.map((_, at) => cosine([found[at] ?? new Float32Array()], [exact[at] ?? new Float32Array()]));
  return `cosine with the exact gradient ${cosine(found, exact).toFixed(6)}, smallest of a layer ${Math.min(...each).toFixed(6)}`;
}

function cosine(found: readonly Float32Array[], exact: readonly Float32Array[]): number {
  let [dot, left, right] = [0, 0, 0];
  for (const [at, values] of found.entries()) {
    for (const [index, x] of values.entries()) {
      const y = exact[at]?.[index] ?? 0;
      dot += x * y;
      left += x * x;
      right += y * y;
    }
  }
  return dot / Math.sqrt(left * right);
}

function length(values: Float32Array): number {
  return Math.sqrt(values.reduce((sum, value) => sum + value * value, 0));
}
