import { coordinate } from './axis-ticks.js';
import { type Html, html } from './html.js';

export interface BarChart {
  readonly title: string;
  /** Drawn in the given order. `before` is a fainter bar behind, on the same scale. */
  readonly bars: readonly {
    readonly label: string;
    readonly value: number;
    readonly text: string;
    readonly before?: number;
  }[];
  readonly width?: number;
  /** Room for labels, in pixels. */
  readonly labelWidth?: number;
  /** Room for the values' texts, in pixels. */
  readonly valueWidth?: number;
}

const ROW = 20;
/** Width of a character of the labels' 11 px monospaced text. */
const CHARACTER_WIDTH = 6.7;

/** Horizontal bars from zero with their values as text; labels too long lose their beginning and keep a tooltip. */
export function svgBarChart(chart: BarChart): Html {
  const { width = 980, labelWidth = 400, valueWidth = 70 } = chart;
  const values = chart.bars.flatMap(({ value, before }) => [value, before ?? 0]).filter(Number.isFinite);
  const largest = values.reduce((most, value) => Math.max(most, value), 0);
  const room = width - labelWidth - valueWidth;
  const length = (value: number) => (largest > 0 ? Math.min(1, Math.max(0, value / largest)) * room : 0);
  const rows = chart.bars.map(({ label, value, text, before }, index) => {
    const middle = index * ROW + ROW / 2;
    const end = Math.max(length(value), length(before ?? 0));
    const behind =
      before !== undefined &&
      html`<rect class="bar-before" x="${labelWidth}" y="${middle - 6}" width="${coordinate(length(before))}" height="12" rx="2"/>`;
    return html`<g><title>${label}: ${text}</title><text class="mono end" x="${labelWidth - 10}" y="${middle}" dy="0.35em">${shortened(label, Math.floor((labelWidth - 10) / CHARACTER_WIDTH))}</text>${behind}<rect class="bar" x="${labelWidth}" y="${middle - 6}" width="${coordinate(length(value))}" height="12" rx="2"/><text class="tick" x="${coordinate(labelWidth + end + 8)}" y="${middle}" dy="0.35em">${text}</text></g>
`;
  });
  return html`<div class="scroll"><svg class="chart wide" viewBox="0 0 ${width} ${chart.bars.length * ROW}" role="img" aria-label="${chart.title}">
${rows}</svg></div>`;
}

/** The end of a text, at most `size` characters, with an ellipsis for the rest. */
export function shortened(text: string, size: number): string {
  const characters = Array.from(text);
  return characters.length <= size ? text : `…${characters.slice(characters.length - size + 1).join('')}`;
}
