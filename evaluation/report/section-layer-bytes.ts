import { bytes, fixed } from './format-number.js';
import { type Html, html } from './html.js';
import type { LayerRow } from './report-data.js';
import { svgBarChart } from './svg-bar-chart.js';

/** Bars shown: the layers with the largest float weights; the layer table has all. */
const LARGEST = 24;

type SizedLayer = LayerRow & { readonly floatBytes: number; readonly bytes: number };

/** Bytes of the largest layers' weights before and after, with their bits; undefined when no sizes are known. */
export function layerBytesBars(layers: readonly LayerRow[]): Html | undefined {
  const sized = layers.filter(
    (layer): layer is SizedLayer => layer.bytes !== undefined && layer.floatBytes !== undefined,
  );
  if (sized.length === 0) return undefined;
  const largest = sized.toSorted((a, b) => b.floatBytes - a.floatBytes || (a.name < b.name ? -1 : 1)).slice(0, LARGEST);
  const total = (pick: (layer: SizedLayer) => number) => sized.reduce((sum, layer) => sum + pick(layer), 0);
  const [before, after] = [total((layer) => layer.floatBytes), total((layer) => layer.bytes)];
  const bars = largest.map((layer) => ({
    label: layer.name,
    value: layer.bytes,
    before: layer.floatBytes,
    text: `${bytes(layer.floatBytes)} → ${bytes(layer.bytes)} · ${bitsOf(layer)}`,
  }));
  return html`<figure class="spaced"><h3>Bits and bytes of the largest layers</h3>${svgBarChart({
    title: 'Bytes of weights by layer, float and shipped, largest first',
    bars,
    labelWidth: 370,
    valueWidth: 210,
  })}<figcaption>Faint: the weight in float. Strong: codes and scales as shipped. Bits are those of weight × input. All ${sized.length} layers with weights: ${bytes(
    before,
  )} → ${bytes(after)}${after > 0 && `, 1/${fixed(before / after, 1)}`}; the table of layers has each.</figcaption></figure>`;
}

/** `4 × 4`, `a × 8` for a product of activations, `float`. */
export function bitsOf({ skipped, weightBits, activationBits }: LayerRow): string {
  return skipped === null ? `${weightBits ?? 'a'} × ${activationBits ?? 'float'}` : 'float';
}
