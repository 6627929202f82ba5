import { coordinate } from './axis-ticks.js';
import { type Html, html } from './html.js';
import { shortened } from './svg-bar-chart.js';

export interface HeatMap {
  readonly title: string;
  readonly rows: readonly string[];
  readonly columns: readonly string[];
  readonly columnLabel: string;
  /** [row][column], positive; shown by the logarithm, from the smallest to the largest. */
  readonly values: readonly (readonly number[])[];
  readonly text: (value: number) => string;
  readonly width?: number;
  readonly labelWidth?: number;
}

const ROW = 16;
const TOP = 18;
const FOOT = 34;
const CHARACTER_WIDTH = 6.7;

/** A table of cells whose opacity grows with the logarithm of the value; zero and missing values stay empty. */
export function svgHeatMap(map: HeatMap): Html {
  const { width = 980, labelWidth = 400 } = map;
  const logs = map.values.flatMap((row) => row.filter((value) => value > 0 && Number.isFinite(value)).map(Math.log));
  const low = logs.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY);
  const high = logs.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  const cell = (width - labelWidth) / Math.max(1, map.columns.length);
  const every = Math.max(1, Math.ceil(34 / cell));
  const opacity = (value: number) => (high > low ? 0.05 + (0.95 * (Math.log(value) - low)) / (high - low) : 1);
  const rows = map.rows.map((label, row) => {
    const y = TOP + row * ROW;
    const cells = map.columns.map((column, index) => {
      const value = map.values[row]?.[index] ?? 0;
      if (!(value > 0 && Number.isFinite(value))) return null;
      return html`<rect class="heat" x="${coordinate(labelWidth + index * cell)}" y="${y}" width="${coordinate(cell - 1)}" height="${ROW - 1}" fill-opacity="${coordinate(opacity(value))}"><title>${label}, ${map.columnLabel} ${column}: ${map.text(value)}</title></rect>`;
    });
    return html`<text class="mono end" x="${labelWidth - 10}" y="${y + ROW / 2}" dy="0.35em">${shortened(label, Math.floor((labelWidth - 10) / CHARACTER_WIDTH))}</text>${cells}
`;
  });
  const foot = TOP + map.rows.length * ROW + 13;
  const ticks = map.columns.map(
    (column, index) =>
      index % every === 0 &&
      html`<text class="tick middle" x="${coordinate(labelWidth + (index + 0.5) * cell)}" y="${foot}">${column}</text>`,
  );
  const range =
    logs.length > 0 &&
    html`<text class="axis-label" x="${labelWidth}" y="10">faint ${map.text(Math.exp(low))} … strong ${map.text(Math.exp(high))}, logarithmic</text>`;
  return html`<div class="scroll"><svg class="chart wide" viewBox="0 0 ${width} ${TOP + map.rows.length * ROW + FOOT}" role="img" aria-label="${map.title}">
${range}${rows}${ticks}<text class="axis-label middle" x="${coordinate((labelWidth + width) / 2)}" y="${foot + 16}">${map.columnLabel}</text></svg></div>`;
}
