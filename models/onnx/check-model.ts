import { NibbleflowError } from '../../contracts/errors.js';
import { rawByteLength } from './data-type.js';
import type { Graph } from './graph.js';
import { OLDEST_OPSET } from './model-proto.js';
import type { ModelProto } from './onnx_pb.js';
import { nodeList, topologicalOrder } from './sort-topologically.js';

/** More findings than this are counted instead of listed. */
const MOST_FINDINGS = 20;

/**
 * Checks that a graph can be processed and written: every value is computed once and before it is read, names are unique,
 * opsets are declared, constants have the bytes that their dims ask for.
 * @param where file or component named in the error
 * @throws NibbleflowError InvalidModel that lists everything wrong.
 */
export function checkModel(graph: Graph, where?: string): void {
  const findings = [
    ...opsetFindings(graph),
    ...boundaryFindings(graph),
    ...definitionFindings(graph),
    ...readFindings(graph),
    ...initializerFindings(graph),
  ];
  if (findings.length === 0) return;
  const rest = findings.length > MOST_FINDINGS ? [`and ${findings.length - MOST_FINDINGS} more`] : [];
  const listed = [...findings.slice(0, MOST_FINDINGS), ...rest].join('; ');
  throw new NibbleflowError('InvalidModel', `The model is not valid: ${listed}`, {
    where: where ?? `graph "${graph.name}"`,
    fix: 'Export the model again; onnx.checker shows the same defects.',
  });
}

function opsetFindings(graph: Graph): string[] {
  const findings = graph.opset < OLDEST_OPSET ? [`opset ${graph.opset} is older than ${OLDEST_OPSET}`] : [];
  const domains = new Set(graph.nodes.map((node) => node.domain).filter((domain) => domain !== ''));
  for (const domain of domains) {
    if (!graph.opsets.has(domain) && !hasFunction(graph, domain))
      findings.push(`no opset is declared for domain "${domain}"`);
  }
  return findings;
}

function hasFunction(graph: Graph, domain: string): boolean {
  return (graph.source as ModelProto | undefined)?.functions.some((one) => one.domain === domain) ?? false;
}

function boundaryFindings(graph: Graph): string[] {
  const findings: string[] = [];
  if (graph.outputs.length === 0) findings.push('the graph has no outputs');
  const defined = definedValues(graph);
  for (const output of graph.outputs)
    if (!defined.has(output.name)) findings.push(`nothing computes the output "${output.name}"`);
  for (const name of repeated(graph.outputs.map((output) => output.name)))
    findings.push(`output "${name}" is listed twice`);
  return findings;
}

/** Inputs, initializers (sparse ones too) and everything that nodes compute. */
function definedValues(graph: Graph): Set<string> {
  return new Set([...outerValues(graph), ...graph.nodes.flatMap((node) => node.outputs)]);
}

function outerValues(graph: Graph): string[] {
  const sparse = (graph.source as ModelProto | undefined)?.graph?.sparseInitializer ?? [];
  return [
    ...graph.inputs.map((input) => input.name),
    ...graph.initializers.keys(),
    ...sparse.map((one) => one.values?.name ?? ''),
  ];
}

function definitionFindings(graph: Graph): string[] {
  const findings: string[] = [];
  const outputs = graph.nodes.flatMap((node) => node.outputs.filter((output) => output !== ''));
  for (const name of repeated([...outerValues(graph), ...outputs]))
    findings.push(`value "${name}" is defined more than once`);
  for (const name of repeated(graph.nodes.map((node) => node.name))) findings.push(`two nodes are called "${name}"`);
  for (const node of graph.nodes) if (node.opType === '') findings.push(`node "${node.name}" has no operator`);
  return findings;
}

function readFindings(graph: Graph): string[] {
  const defined = definedValues(graph);
  const findings: string[] = [];
  for (const node of graph.nodes) {
    for (const input of new Set(node.inputs)) {
      if (input !== '' && !defined.has(input))
        findings.push(`node "${node.name}" reads "${input}", which nothing computes`);
    }
  }
  const { sorted, blocked } = topologicalOrder(graph);
  if (blocked.length > 0) findings.push(`nodes wait for each other in a cycle: ${nodeList(blocked)}`);
  else if (sorted.some((node, index) => node !== graph.nodes[index]))
    findings.push('nodes are not in topological order');
  return findings;
}

function initializerFindings(graph: Graph): string[] {
  const findings: string[] = [];
  for (const { name, type, dims, raw } of graph.initializers.values()) {
    if (type === 'string') continue;
    const expected = rawByteLength(type, dims);
    if (raw.byteLength !== expected)
      findings.push(`tensor "${name}" has ${raw.byteLength} bytes instead of ${expected}`);
  }
  return findings;
}

function repeated(names: readonly string[]): Set<string> {
  const seen = new Set<string>();
  const twice = new Set<string>();
  for (const name of names) {
    if (seen.has(name)) twice.add(name);
    seen.add(name);
  }
  return twice;
}
