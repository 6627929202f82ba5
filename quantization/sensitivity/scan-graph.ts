import { emitIf } from '../../models/onnx/emit-if.js';
import type { Graph } from '../../models/onnx/graph.js';
import { NodeEmitter } from '../../models/onnx/node-emitter.js';
import { removeDeadCode } from '../../models/onnx/remove-dead-code.js';
import type { Shapes } from '../../models/onnx/shape-inference.js';
import { sortTopologically } from '../../models/onnx/sort-topologically.js';
import { type ActivationQuantizer, activationQuantizers } from '../activation-quantizers.js';
import { insertQuantizers, type Lowering } from '../conversion/insert-quantizers.js';
import { floatLowering } from '../conversion/lower-to-float.js';
import type { QuantizationPlan } from '../layer-plan.js';
import type { QuantizedParameters } from '../quantized-parameters.js';

/**
 * The float denoiser with a switch before every quantized input of every layer and with every quantized weight as an input, so
 * that one session measures the network with any single one of them quantized:
 *
 *   x̃ = switch ? Q_b(x) : x        W̃ = whatever is fed
 *
 * Each layer has switches of its own, also where layers read the same value. Switches that are off cost one copy: the
 * quantizer is the branch of an If. On devices whose providers have no If, both sides are computed and Where picks one.
 */
export interface ScanGraph {
  readonly graph: Graph;
  /** Scalar bool inputs: the switches of each layer's inputs, by layer name. */
  readonly switches: ReadonlyMap<string, readonly string[]>;
  /** Graph input that takes a layer's weight, by layer name. */
  readonly weights: ReadonlyMap<string, string>;
}

export interface ScanGraphSpec {
  /** The transformed float denoiser. */
  readonly graph: Graph;
  readonly shapes: Shapes;
  /** All quantized layers at the bits of the scan. */
  readonly plan: QuantizationPlan;
  readonly parameters: QuantizedParameters;
  readonly timestep: string | null;
  /** How a switch picks: `branch` computes one side, `both` computes both. */
  readonly select: 'branch' | 'both';
}

/** @throws NibbleflowError InvalidModel when plan and graph do not fit */
export function buildScanGraph(spec: ScanGraphSpec): ScanGraph {
  const graph = spec.graph.clone();
  const emitter = new NodeEmitter(graph, 'scan');
  const switches = insertSwitches(graph, spec, emitter);
  const weights = insertWeightInputs(graph, spec.plan, emitter);
  graph.invalidate();
  sortTopologically(graph);
  removeDeadCode(graph);
  return { graph, switches, weights };
}

function insertSwitches(graph: Graph, spec: ScanGraphSpec, emitter: NodeEmitter): Map<string, string[]> {
  const { shapes, parameters, timestep, plan } = spec;
  const context = { shapes, parameters, timestep, trainedLayers: new Set<string>(), trainRanges: false };
  const lowering = floatLowering(graph, context, emitter);
  const switches = new Map<string, string[]>();
  for (const quantizer of activationQuantizers(plan)) {
    for (const reader of quantizer.readers) {
      const input = `scan/${reader.layer}/input${reader.index}`;
      graph.inputs.push({ name: input, type: 'bool', shape: [] });
      const chosen = emitSwitch(graph, { lowering, quantizer, input, select: spec.select }, emitter);
      const node = graph.nodeByName(reader.node);
      if (node === undefined) throw new RangeError(`the graph has no node ${reader.node}`);
      node.inputs[reader.index] = chosen;
      switches.set(reader.layer, [...(switches.get(reader.layer) ?? []), input]);
    }
  }
  return switches;
}

interface Switch {
  readonly lowering: Lowering;
  readonly quantizer: ActivationQuantizer;
  readonly input: string;
  readonly select: ScanGraphSpec['select'];
}

/** What the lowering emits under the quantizer's own name goes into the branch; what it shares with others stays outside. */
function emitSwitch(graph: Graph, { lowering, quantizer, input, select }: Switch, emitter: NodeEmitter): string {
  const before = graph.nodes.length;
  const quantized = lowering.activation(quantizer, emitter.at(quantizer.id));
  emitter.at(quantizer.id);
  if (select === 'both') return emitter.emit('Where', [input, quantized, quantizer.value], {}, 'chosen');
  const made = graph.nodes.splice(before);
  const own = made.filter(({ name }) => name.startsWith(`${quantizer.id}.`));
  graph.nodes.push(...made.filter((node) => !own.includes(node)));
  graph.invalidate();
  return emitIf({ condition: input, nodes: own, whenTrue: quantized, otherwise: quantizer.value }, emitter);
}

function insertWeightInputs(graph: Graph, plan: QuantizationPlan, emitter: NodeEmitter): Map<string, string> {
  const weights = new Map<string, string>();
  const weightsOnly = { ...plan, layers: plan.layers.map((layer) => ({ ...layer, inputs: [] })) };
  const lowering: Lowering = {
    activation: ({ value }) => value,
    weight: (layer, weight) => {
      const name = `scan/${layer.name}/weight`;
      graph.inputs.push({ name, type: 'float32', shape: [...weight.dims] });
      weights.set(layer.name, name);
      return name;
    },
  };
  insertQuantizers(graph, weightsOnly, lowering, emitter);
  return weights;
}
