import type { ArtifactRef } from '../contracts/artifact.js';
import type { Recipe } from '../contracts/recipe.js';
import { gateText } from '../contracts/sensitivity-gate.js';
import type { LayerSensitivityRow, SensitivityData } from '../evaluation/report/report-data.js';
import type { PlannedLayer, QuantizationPlan } from '../quantization/layer-plan.js';
import {
  errorAt,
  type LayerSensitivity,
  medianOwnError,
  type Sensitivity,
} from '../quantization/sensitivity/sensitivity.js';
import type { LocalStore } from './store/local-store.js';

export interface SensitivityReport {
  readonly store: LocalStore;
  /** By `<stage id>.<result field>`. */
  readonly artifacts: Readonly<Record<string, ArtifactRef>>;
  /** What was shipped. */
  readonly plan: QuantizationPlan;
  readonly recipe: Recipe;
  /** The outcome of the choice of bits; null when there was none. */
  readonly choice: string | null;
}

/** What the report shows of the scan; undefined when the run had none. */
export async function sensitivityData(report: SensitivityReport): Promise<SensitivityData | undefined> {
  const { store, artifacts, plan, recipe, choice } = report;
  const ref = artifacts['sensitivity.sensitivity'];
  if (ref === undefined) return undefined;
  const found = (await store.getJson(ref)) as Sensitivity;
  const planned = new Map(plan.layers.map((layer) => [layer.name, layer]));
  const { bits, items } = found;
  const layers =
    bits.length === 0 ? [] : found.layers.map((layer) => rowOf(layer, planned.get(layer.name), bits[0] ?? 0));
  return { gate: gateText(medianOwnError(found), recipe.sensitivity.gate), bits, items, layers, choice };
}

function rowOf(layer: LayerSensitivity, planned: PlannedLayer | undefined, lowest: number): LayerSensitivityRow {
  const { name, macsShare, weights, activations, ownError } = layer;
  return {
    name,
    macsShare,
    weights: weights.length === 0 ? null : errorAt(weights, lowest, 'output'),
    activations: errorAt(activations, lowest, 'output'),
    ownError,
    bits: `${planned?.weight?.scheme.bits ?? 'a'} × ${planned?.inputs[0]?.scheme.bits ?? 'float'}`,
    reason: planned?.reason ?? '',
  };
}
