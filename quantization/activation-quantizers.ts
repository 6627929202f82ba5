import type { ActivationScheme, PlannedInput, QuantizationPlan } from './layer-plan.js';

/** One point of the graph where activations become low-bit; shared by every layer that reads the value alike. */
export interface ActivationQuantizer {
  /** Short and stable: `q0`, `q1`, … in plan order. Names scales in artifacts and nodes in the graph. */
  readonly id: string;
  readonly value: string;
  readonly channelAxis: number;
  readonly rows: PlannedInput['rows'];
  readonly scheme: ActivationScheme;
  /** The node inputs that read the quantized value. */
  readonly readers: readonly { readonly layer: string; readonly node: string; readonly index: number }[];
}

/** The distinct quantizers of a plan, in the order in which layers first use them. */
export function activationQuantizers(plan: QuantizationPlan): ActivationQuantizer[] {
  const byKey = new Map<string, { input: PlannedInput; readers: ActivationQuantizer['readers'][number][] }>();
  for (const layer of plan.layers) {
    for (const input of layer.inputs) {
      const key = JSON.stringify([input.value, input.channelAxis, input.rows, input.scheme]);
      const reader = { layer: layer.name, node: layer.node, index: input.index };
      const known = byKey.get(key);
      if (known === undefined) byKey.set(key, { input, readers: [reader] });
      else known.readers.push(reader);
    }
  }
  return [...byKey.values()].map(({ input, readers }, index) => ({
    id: `q${index}`,
    value: input.value,
    channelAxis: input.channelAxis,
    rows: input.rows,
    scheme: input.scheme,
    readers,
  }));
}
