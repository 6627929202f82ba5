import { bytes, DASH, percent, shortCount, significant } from './format-number.js';
import { breakable, type Html, html } from './html.js';
import type {
  ActivationDrift,
  FinetuningData,
  LayerRow,
  LayerTimestepErrors,
  TimestepSeries,
  TrajectorySeries,
} from './report-data.js';
import { bitsOf } from './section-layer-bytes.js';
import { svgBarChart } from './svg-bar-chart.js';
import { svgHeatMap } from './svg-heat-map.js';
import { svgLineChart } from './svg-line-chart.js';

/** Bars and heat map rows shown; the layer table has all. */
const WORST_LAYERS = 24;

/** Latent SQNR along the sampler's way from noise to picture. */
export function timestepChart(series: readonly TimestepSeries[]): Html {
  return html`<figure><h3>Latent SQNR per timestep</h3>${svgLineChart({
    title: 'Latent SQNR per timestep',
    xLabel: 'timestep, noise on the left',
    yLabel: 'dB, higher is better',
    reversed: true,
    series: series.map(({ role, label, points }) => ({
      label,
      tone: role,
      dashed: role === 'floor',
      points: points.map(({ timestep, sqnrDb }) => ({ x: timestep, y: sqnrDb })),
    })),
  })}</figure>`;
}

/** Relative distance from the float trajectory along the sampler's way from noise to picture. */
export function trajectoryChart(series: readonly TrajectorySeries[]): Html {
  return html`<figure><h3>Trajectory error per timestep</h3>${svgLineChart({
    title: 'Trajectory error per timestep',
    xLabel: 'timestep, noise on the left',
    yLabel: '‖x̂ − x‖ / ‖x‖, lower is better',
    reversed: true,
    fromZero: true,
    series: series.map(({ role, label, points }) => ({
      label,
      tone: role,
      dashed: role === 'floor',
      points: points.map(({ timestep, error }) => ({ x: timestep, y: error })),
    })),
  })}</figure>`;
}

/** Training and validation error by step; a gap that grows between them is overfitting. */
export function finetuningChart({ curve, phases = [], bestStep, validation, training }: FinetuningData): Html {
  const points = (pick: (entry: FinetuningData['curve'][number]) => number | null) =>
    curve.flatMap((entry) => {
      const y = pick(entry);
      return y === null ? [] : [{ x: entry.step, y }];
    });
  const shipped = bestStep === undefined ? '' : `; shipped: step ${bestStep}`;
  const names = phases.map(({ name }, index) => `${index + 1} ${name}`).join(', ');
  return html`<figure><h3>Finetuning</h3>${svgLineChart({
    title: 'Relative error of the network output by finetuning step',
    xLabel: 'step',
    yLabel: 'relative MSE of the network output, lower is better',
    fromZero: true,
    series: [
      { label: 'held-back prompts', tone: 'after', points: points(({ validation }) => validation) },
      { label: 'training prompts', tone: 'floor', dashed: true, points: points(({ training }) => training) },
    ],
    marks: phases.map(({ step }, index) => ({ x: step, label: String(index + 1) })),
  })}<figcaption>Held-back prompts ${significant(validation.before)} → ${significant(validation.after)} (${change(validation)}), training prompts ${significant(
    training.before,
  )} → ${significant(training.after)} (${change(training)})${shipped}.${names !== '' && ` Phases: ${names}.`}</figcaption></figure>`;
}

/** The layers with the largest error, worst first; undefined when no error was measured. */
export function layerBars(layers: readonly LayerRow[]): Html | undefined {
  const worst = worstFirst(layers).slice(0, WORST_LAYERS);
  if (worst.length === 0) return undefined;
  const bars = worst.map(({ name, error }) => ({ label: name, value: error, text: significant(error) }));
  return html`<figure class="spaced"><h3>Layers with the largest relative output error</h3>${svgBarChart({
    title: 'Relative output error by layer, worst first',
    bars,
  })}<figcaption>Σ(y − ŷ)² / Σy² of the layer’s output. The ${worst.length} worst layers; the table below has all.</figcaption></figure>`;
}

/** Relative error by layer and timestep, the worst layers first. */
export function heatMapSection(errors: LayerTimestepErrors): Html {
  return layerHeatMap(errors, 'Relative output error by layer and timestep', 'Σ(y − ŷ)² / Σy² of the layer’s output.');
}

/** How far the activations drifted, layer by layer and timestep by timestep, the furthest first. */
export function driftSection(drift: ActivationDrift): Html {
  return layerHeatMap(drift, 'Activation drift by layer and timestep, float against quantized', drift.note);
}

function layerHeatMap({ layers, timesteps, errors }: LayerTimestepErrors, title: string, note: string): Html {
  const worst = (row: readonly number[]) =>
    row.filter(Number.isFinite).reduce((most, value) => Math.max(most, value), 0);
  const order = layers
    .map((name, index) => ({ name, row: errors[index] ?? [] }))
    .sort((a, b) => worst(b.row) - worst(a.row) || (a.name < b.name ? -1 : 1))
    .slice(0, WORST_LAYERS);
  const rest = layers.length > order.length ? ` The ${order.length} worst of ${layers.length} layers.` : '';
  return html`<figure class="spaced"><h3>${title}</h3>${svgHeatMap({
    title,
    rows: order.map(({ name }) => name),
    columns: timesteps.map(String),
    columnLabel: 'timestep',
    values: order.map(({ row }) => row),
    text: (value) => significant(value, 2),
  })}<figcaption>${note}${rest}</figcaption></figure>`;
}

/** Every layer with its scheme, bytes and error, or the reason why it stayed float. */
export function layerTable(layers: readonly LayerRow[]): Html {
  const quantized = layers.filter(({ skipped }) => skipped === null).length;
  const sized = layers.some((layer) => layer.bytes !== undefined);
  return html`<h2>Layers</h2>
<p>${layers.length} layers, ${quantized} quantized.</p>
<div class="scroll tall"><table class="layers"><thead><tr><th scope="col">Layer</th><th scope="col" class="text">Role</th><th scope="col" class="text">Op</th><th scope="col">Bits</th><th scope="col" class="text">Scheme</th><th scope="col">Weights</th>${
    sized && html`<th scope="col">Float</th><th scope="col">Shipped</th>`
  }<th scope="col">MACs</th><th scope="col">Error</th></tr></thead><tbody>
${layers.map((layer) => layerRow(layer, sized))}</tbody></table></div>`;
}

function layerRow(layer: LayerRow, sized: boolean): Html {
  const size = (value: number | undefined) => (value === undefined ? DASH : bytes(value));
  return html`<tr${layer.skipped !== null && html` class="skipped"`}><th scope="row">${breakable(layer.name)}</th><td class="text">${layer.role}</td><td class="text">${
    layer.op
  }</td><td>${bitsOf(layer)}</td><td class="text">${schemeCell(layer)}</td><td>${shortCount(layer.parameters)}</td>${
    sized && html`<td>${size(layer.floatBytes)}</td><td>${size(layer.bytes)}</td>`
  }<td>${shortCount(layer.macs)}</td><td>${significant(layer.error)}</td></tr>
`;
}

/** The scheme with the reason for its bits, or why it stayed float. */
function schemeCell({ skipped, scheme, reason }: LayerRow): Html {
  if (skipped !== null) return html`stays float: ${skipped}`;
  return html`${scheme}${reason !== undefined && html`<br><span class="hint">${reason}</span>`}`;
}

function worstFirst(layers: readonly LayerRow[]): (LayerRow & { readonly error: number })[] {
  return layers
    .filter(
      (layer): layer is LayerRow & { readonly error: number } => layer.error !== null && Number.isFinite(layer.error),
    )
    .sort((a, b) => b.error - a.error || (a.name < b.name ? -1 : 1));
}

function change({ before, after }: { readonly before: number; readonly after: number }): string {
  if (!(before > 0)) return 'from zero';
  const share = after / before - 1;
  return share <= 0 ? `${percent(-share, 0)} less` : `${percent(share, 0)} more`;
}
