import type { ActivationScheme, PlannedLayer, QuantizationPlan, WeightScheme } from '../../quantization/layer-plan.js';
import type { CoverageData, LayerRow } from './report-data.js';

/** Bytes of a weight element of a float model. */
const FLOAT_BYTES = 4;

/**
 * One row per planned layer.
 * @param errors the layers' relative output errors by name
 * @param bytes what the layers' weights take in the shipped file, by name
 */
export function layerRows(
  plan: QuantizationPlan,
  errors: ReadonlyMap<string, number>,
  bytes: ReadonlyMap<string, number> = new Map(),
): LayerRow[] {
  return plan.layers.map((layer) => {
    const isQuantized = layer.skipped === null;
    const shipped = layer.weight === null ? undefined : bytes.get(layer.name);
    return {
      name: layer.name,
      role: layer.role,
      op: layer.opType,
      weightBits: isQuantized ? (layer.weight?.scheme.bits ?? null) : null,
      activationBits: layer.inputs[0]?.scheme.bits ?? null,
      scheme: isQuantized ? schemeText(layer) : '',
      parameters: layer.parameters,
      macs: layer.macs,
      ...(shipped === undefined ? {} : { floatBytes: layer.parameters * FLOAT_BYTES, bytes: shipped }),
      error: errors.get(layer.name) ?? null,
      skipped: layer.skipped,
      ...(layer.reason === undefined ? {} : { reason: layer.reason }),
    };
  });
}

/** Coverage with absolute numbers by bit pair; `labelOf` names a layer's pair (`w4a4`, `a8a8`, `float`). */
export function coverageData(plan: QuantizationPlan, labelOf: (layer: PlannedLayer) => string): CoverageData {
  const byBits = new Map<string, { bits: string; layers: number; parameters: number; macs: number }>();
  for (const layer of plan.layers) {
    const bits = labelOf(layer);
    const sum = byBits.get(bits) ?? { bits, layers: 0, parameters: 0, macs: 0 };
    sum.layers += 1;
    sum.parameters += layer.parameters;
    sum.macs += layer.macs;
    byBits.set(bits, sum);
  }
  const { layers, parameters, macs } = plan.coverage;
  return { layers, parameters, macs, byBits: [...byBits.values()] };
}

function schemeText({ weight, inputs }: PlannedLayer): string {
  const activations = [...new Set(inputs.map(({ scheme }) => activationText(scheme)))].join(', ');
  return weight === null ? activations : `${weightText(weight.scheme)} · ${activations}`;
}

function weightText({ groupSize, range }: WeightScheme): string {
  return groupSize === null ? `channel ${range}` : `group ${groupSize} ${range}`;
}

function activationText(scheme: ActivationScheme): string {
  const { ranges, groupSize, range, symmetric, grid, floatFirst, spread } = scheme;
  const ending = `${symmetric ? ' signed' : ''}${floatFirst === undefined ? '' : ', first token float'}`;
  if (grid !== undefined) return `${grid}${ending}`;
  if (ranges === 'dynamic') return groupSize === null ? `dynamic${ending}` : `dynamic ${groupSize}${ending}`;
  if (spread === undefined) return `${ranges} ${range}${ending}`;
  return spread.groups === null ? `${ranges} channel ${range}${ending}` : `${ranges} ${spread.groups} groups${ending}`;
}
