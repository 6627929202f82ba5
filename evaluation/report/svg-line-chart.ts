import { coordinate, linearTicks, tickText } from './axis-ticks.js';
import { type Html, html } from './html.js';

export interface LineSeries {
  readonly label: string;
  /** Picks the colour: CSS class `series-<tone>`. */
  readonly tone: 'floor' | 'before' | 'after';
  readonly dashed?: boolean;
  readonly points: readonly { readonly x: number; readonly y: number }[];
}

export interface LineChart {
  /** Said to screen readers. */
  readonly title: string;
  readonly xLabel: string;
  readonly yLabel: string;
  readonly series: readonly LineSeries[];
  /** Largest x at the left. */
  readonly reversed?: boolean;
  /** The y axis starts at zero. */
  readonly fromZero?: boolean;
  /** Vertical marks with a name. */
  readonly marks?: readonly { readonly x: number; readonly label: string }[];
  readonly width?: number;
  readonly height?: number;
}

const LEFT = 52;
const RIGHT = 14;
const TOP = 52;
const BOTTOM = 40;
/** Mean width of a character of the legend's 12 px text. */
const CHARACTER_WIDTH = 6.4;

interface Frame {
  readonly width: number;
  readonly height: number;
  readonly x: (value: number) => number;
  readonly y: (value: number) => number;
}

/** An SVG line chart; same data, same bytes. Points that are not finite are left out. Nothing to draw gives an empty frame text. */
export function svgLineChart(chart: LineChart): Html {
  const { width = 480, height = 280 } = chart;
  const series = chart.series
    .map((entry) => ({ ...entry, points: entry.points.filter(({ x, y }) => Number.isFinite(x) && Number.isFinite(y)) }))
    .filter(({ points }) => points.length > 0);
  if (series.length === 0) return html`<p class="empty">No data for “${chart.title}”.</p>`;
  const all = series.flatMap(({ points }) => points);
  const xs = all.map(({ x }) => x);
  const ys = all.map(({ y }) => y);
  const xRange = [Math.min(...xs), Math.max(...xs)] as const;
  const yTicks = linearTicks(chart.fromZero === true ? Math.min(0, ...ys) : Math.min(...ys), Math.max(...ys));
  const yRange = [yTicks[0] ?? 0, yTicks.at(-1) ?? 1] as const;
  const share = (value: number) => (xRange[1] > xRange[0] ? (value - xRange[0]) / (xRange[1] - xRange[0]) : 0.5);
  const frame: Frame = {
    width,
    height,
    x: (value) => LEFT + (chart.reversed === true ? 1 - share(value) : share(value)) * (width - LEFT - RIGHT),
    y: (value) => height - BOTTOM - ((value - yRange[0]) / (yRange[1] - yRange[0])) * (height - TOP - BOTTOM),
  };
  return html`<svg class="chart" viewBox="0 0 ${width} ${height}" role="img" aria-label="${chart.title}">
${yAxis(frame, yTicks, chart.yLabel)}${xAxis(frame, xRange, chart.xLabel)}
${(chart.marks ?? []).map((mark) => markLine(frame, mark))}
${series.map((entry) => line(frame, entry))}
${legend(series)}</svg>`;
}

function yAxis(frame: Frame, ticks: readonly number[], label: string): Html {
  const lines = ticks.map((tick) => {
    const y = coordinate(frame.y(tick));
    return html`<line class="grid" x1="${LEFT}" x2="${frame.width - RIGHT}" y1="${y}" y2="${y}"/><text class="tick end" x="${LEFT - 8}" y="${y}" dy="0.35em">${tickText(tick, ticks)}</text>`;
  });
  return html`${lines}<text class="axis-label" x="4" y="${TOP - 16}">${label}</text>`;
}

function xAxis(frame: Frame, [low, high]: readonly [number, number], label: string): Html {
  const ticks = linearTicks(low, high, 6);
  const y = frame.height - BOTTOM + 16;
  const texts = ticks
    .filter((tick) => tick >= low && tick <= high)
    .map(
      (tick) =>
        html`<text class="tick middle" x="${coordinate(frame.x(tick))}" y="${y}">${tickText(tick, ticks)}</text>`,
    );
  return html`${texts}<text class="axis-label middle" x="${coordinate((LEFT + frame.width - RIGHT) / 2)}" y="${frame.height - 6}">${label}</text>`;
}

function markLine(frame: Frame, mark: { readonly x: number; readonly label: string }): Html {
  const x = coordinate(frame.x(mark.x));
  return html`<line class="mark" x1="${x}" x2="${x}" y1="${TOP}" y2="${frame.height - BOTTOM}"/><text class="tick" x="${x}" y="${TOP + 10}" dx="4">${mark.label}</text>`;
}

function line(frame: Frame, series: LineSeries): Html {
  const points = [...series.points].sort((a, b) => a.x - b.x);
  const path = points.map(({ x, y }) => `${coordinate(frame.x(x))},${coordinate(frame.y(y))}`).join(' ');
  const dots = points.map(
    ({ x, y }) =>
      html`<circle class="dot series-${series.tone}" cx="${coordinate(frame.x(x))}" cy="${coordinate(frame.y(y))}" r="2.2"/>`,
  );
  return html`<polyline class="line series-${series.tone}${series.dashed === true ? ' dashed' : ''}" points="${path}"/>${points.length <= 40 && dots}`;
}

function legend(series: readonly LineSeries[]): Html {
  let x = LEFT;
  return html`${series.map((entry) => {
    const left = x;
    x += 26 + entry.label.length * CHARACTER_WIDTH + 18;
    return html`<line class="line series-${entry.tone}${entry.dashed === true ? ' dashed' : ''}" x1="${coordinate(left)}" x2="${coordinate(left + 20)}" y1="10" y2="10"/><text class="legend" x="${coordinate(left + 26)}" y="10" dy="0.35em">${entry.label}</text>`;
  })}`;
}
