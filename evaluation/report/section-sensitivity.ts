import { DASH, percent, significant } from './format-number.js';
import { type Html, html } from './html.js';
import type { LayerSensitivityRow, SensitivityData } from './report-data.js';
import { svgBarChart } from './svg-bar-chart.js';

/** Bars and table rows shown: the most sensitive layers. */
const MOST_SENSITIVE = 24;

/** What each layer does to the network alone, the gate, and why layers got other bits. */
export function sensitivitySection({ gate, bits, items, layers, choice }: SensitivityData): Html {
  return html`<h2>Sensitivity</h2>
<p>${gate}.</p>
${bits.length > 0 && scanned({ gate, bits, items, layers, choice })}`;
}

function scanned({ bits, items, layers, choice }: SensitivityData): Html {
  const [lowest = 0] = bits;
  const total = ({ weights, activations }: LayerSensitivityRow) => (weights ?? 0) + activations;
  const order = layers.toSorted((a, b) => total(b) - total(a) || (a.name < b.name ? -1 : 1));
  const shown = order.slice(0, MOST_SENSITIVE);
  const rows = shown.map(
    (layer) => html`<tr><th scope="row">${layer.name}</th><td>${percent(layer.macsShare, 2)}</td><td>${
      layer.weights === null ? DASH : significant(layer.weights)
    }</td><td>${significant(layer.activations)}</td><td>${significant(layer.ownError)}</td><td>${layer.bits}</td><td class="text">${layer.reason}</td></tr>
`,
  );
  const bars = shown.map((layer) => ({ label: layer.name, value: total(layer), text: significant(total(layer)) }));
  return html`<figure><h3>The most sensitive layers at ${lowest} bits</h3>${svgBarChart({
    title: `Error of the network's output with one layer at ${lowest} bits`,
    bars,
  })}<figcaption>Σ(ε − ε̃)² / Σε² of the network’s output with this layer alone at ${lowest} bits, weights and inputs measured apart and added; ${items} calls on float trajectories, nothing finetuned.</figcaption></figure>
<div class="scroll"><table class="layers"><thead><tr><th scope="col">Layer</th><th scope="col">MACs</th><th scope="col">Weights</th><th scope="col">Inputs</th><th scope="col">Own error</th><th scope="col">Bits</th><th scope="col" class="text">Why</th></tr></thead><tbody>
${rows}</tbody></table></div>
${choice !== null && html`<p class="notes">${choice}.</p>`}`;
}
