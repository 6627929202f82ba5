import { coordinate } from './axis-ticks.js';
import { type Html, html } from './html.js';

export interface BarChart {
  readonly title: string;
  /** Drawn in the given order. */
  readonly bars: readonly { readonly label: string; readonly value: number; readonly text: string }[];
  readonly width?: number;
  /** Room for labels, in pixels. */
  readonly labelWidth?: number;
}

const ROW = 20;
const VALUE_WIDTH = 70;
/** Width of a character of the labels' 11 px monospaced text. */
const CHARACTER_WIDTH = 6.7;

/** Horizontal bars from zero with their values as text; labels too long lose their beginning and keep a tooltip. */
export function svgBarChart(chart: BarChart): Html {
  const { width = 980, labelWidth = 400 } = chart;
  const largest = chart.bars.reduce((most, { value }) => (Number.isFinite(value) ? Math.max(most, value) : most), 0);
  const room = width - labelWidth - VALUE_WIDTH;
  const rows = chart.bars.map(({ label, value, text }, index) => {
    const middle = index * ROW + ROW / 2;
    const share = largest > 0 ? Math.min(1, Math.max(0, value / largest)) : 0;
    const length = coordinate(share * room);
    return html`<g><title>${label}: ${text}</title><text class="mono end" x="${labelWidth - 10}" y="${middle}" dy="0.35em">${shortened(label, Math.floor((labelWidth - 10) / CHARACTER_WIDTH))}</text><rect class="bar" x="${labelWidth}" y="${middle - 6}" width="${length}" height="12" rx="2"/><text class="tick" x="${coordinate(labelWidth + share * room + 8)}" y="${middle}" dy="0.35em">${text}</text></g>
`;
  });
  return html`<svg class="chart wide" viewBox="0 0 ${width} ${chart.bars.length * ROW}" role="img" aria-label="${chart.title}">
${rows}</svg>`;
}

/** The end of a text, at most `size` characters, with an ellipsis for the rest. */
export function shortened(text: string, size: number): string {
  const characters = Array.from(text);
  return characters.length <= size ? text : `…${characters.slice(characters.length - size + 1).join('')}`;
}
