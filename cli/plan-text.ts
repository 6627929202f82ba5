import type { ActivationScheme, PlannedLayer, QuantizationPlan } from '../quantization/layer-plan.js';
import type { RunEstimate } from './estimate-run.js';
import { durationText } from './progress-line.js';

/** The plan for people: a line per layer, then coverage, sizes and the estimate. */
export function planText(plan: QuantizationPlan, estimate: RunEstimate): string {
  const rows = plan.layers.map((layer) => [layer.name, roleText(layer), schemeAndReason(layer)] as const);
  const widths = [0, 1].map((column) => Math.max(...rows.map((row) => row[column as 0 | 1].length)));
  const lines = rows.map(
    ([name, role, text]) => `${name.padEnd(widths[0] ?? 0)}  ${role.padEnd(widths[1] ?? 0)}  ${text}`,
  );
  const { coverage } = plan;
  const ratio = plan.floatBytes / plan.estimatedBytes;
  return [
    ...lines,
    '',
    `Coverage   ${percent(coverage.layers)} of layers, ${percent(coverage.parameters)} of parameters, ${percent(coverage.macs)} of MACs at the recipe's low bits`,
    ...(coverage.branchBudget === undefined
      ? []
      : [`Branches   float side branches of low rank, up to ${percent(coverage.branchBudget)} more MACs`]),
    `Denoiser   ${megabytes(plan.floatBytes)} → about ${megabytes(plan.estimatedBytes)} (${ratio.toFixed(1)}× smaller)`,
    `Time       ${estimate.minutes.map((minutes) => durationText(minutes * 60)).join(' to ')} on this machine, from a probe of the float denoiser`,
    estimate.memoryBytes === null
      ? 'Memory     not known: this system does not tell the size of a process'
      : `Memory     ${estimate.memoryBytes.map(megabytes).join(' to ')}`,
    ...(plan.notices ?? []).map((notice) => `Note       ${notice}`),
  ].join('\n');
}

/** What finetuning phases choose layers by: the finest names. */
function roleText({ role, attentionParts = [] }: PlannedLayer): string {
  return attentionParts.length === 0 ? role : attentionParts.join(' + ');
}

function schemeAndReason(layer: PlannedLayer): string {
  return layer.reason === undefined ? scheme(layer) : `${scheme(layer)} · ${layer.reason}`;
}

function scheme(layer: PlannedLayer): string {
  if (layer.skipped !== null) return `float: ${layer.skipped}`;
  const parts = [];
  if (layer.weight !== null) {
    const { bits, groupSize, range } = layer.weight.scheme;
    parts.push(`W${bits} ${groupSize === null ? 'per channel' : `per ${groupSize}`} ${range}`);
  }
  const [input] = layer.inputs;
  if (input !== undefined) {
    parts.push(activationScheme(input.scheme));
  }
  return parts.join(' · ');
}

function activationScheme({ bits, ranges, groupSize, symmetric, spread, grid }: ActivationScheme): string {
  const group = ranges === 'dynamic' && groupSize !== null ? ` per ${groupSize}` : '';
  const entries = spread === undefined ? '' : spread.groups === null ? ' per channel' : ` in ${spread.groups} groups`;
  return grid === undefined
    ? `A${bits} ${ranges}${group}${entries}${symmetric ? ' symmetric' : ''}`
    : `A${bits} ${grid}`;
}

function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(bytes < 1e8 ? 2 : 0)} MB`;
}
