import { coordinate, linearTicks, tickText } from './axis-ticks.js';
import { type Html, html } from './html.js';

export interface ScatterPoint {
  readonly label: string;
  readonly x: number;
  readonly y: number;
  /** Area of the dot grows with it; ≥ 0. */
  readonly weight: number;
  /** Drawn in the accent colour and joined by a line, in the order of x. */
  readonly marked: boolean;
}

export interface Scatter {
  /** Said to screen readers. */
  readonly title: string;
  readonly xLabel: string;
  readonly yLabel: string;
  readonly points: readonly ScatterPoint[];
}

const WIDTH = 860;
const HEIGHT = 420;
const LEFT = 56;
const RIGHT = 150;
const TOP = 36;
const BOTTOM = 44;
const RADII = [4, 13] as const;
/** Labels nearer than this to one above them move down. */
const LINE_HEIGHT = 13;

interface Placed extends ScatterPoint {
  readonly cx: number;
  readonly cy: number;
  readonly radius: number;
}

/** An SVG scatter plot with named dots; same data, same bytes. Points that are not finite are left out. */
export function svgScatter({ title, xLabel, yLabel, points: given }: Scatter): Html {
  const points = given.filter(({ x, y, weight }) => [x, y, weight].every(Number.isFinite));
  if (points.length === 0) return html`<p class="empty">No data for “${title}”.</p>`;
  const xTicks = ticksOf(points.map(({ x }) => x));
  const yTicks = ticksOf(points.map(({ y }) => y));
  const x = (value: number) => LEFT + share(value, xTicks) * (WIDTH - LEFT - RIGHT);
  const y = (value: number) => HEIGHT - BOTTOM - share(value, yTicks) * (HEIGHT - TOP - BOTTOM);
  const heaviest = Math.max(...points.map(({ weight }) => weight));
  const placed = points.map((point) => ({
    ...point,
    cx: x(point.x),
    cy: y(point.y),
    radius: RADII[0] + (RADII[1] - RADII[0]) * Math.sqrt(heaviest > 0 ? point.weight / heaviest : 0),
  }));
  return html`<svg class="chart wide" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${title}">
${yTicks.map((tick) => horizontal(y(tick), tickText(tick, yTicks)))}
${xTicks.map((tick) => html`<text class="tick middle" x="${coordinate(x(tick))}" y="${HEIGHT - BOTTOM + 18}">${tickText(tick, xTicks)}</text>`)}
<text class="axis-label" x="4" y="14">${yLabel}</text>
<text class="axis-label middle" x="${coordinate((LEFT + WIDTH - RIGHT) / 2)}" y="${HEIGHT - 6}">${xLabel}</text>
${frontLine(placed)}${[...placed].sort((a, b) => Number(a.marked) - Number(b.marked)).map(dot)}${labels(placed)}</svg>`;
}

/** Room around the extremes, so that no dot touches the frame. */
function ticksOf(values: readonly number[]): number[] {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const margin = 0.06 * (high - low);
  return linearTicks(low - margin, high + margin);
}

function share(value: number, ticks: readonly number[]): number {
  const [first = 0, last = 1] = [ticks[0], ticks.at(-1)];
  return (value - first) / (last - first);
}

function horizontal(y: number, text: string): Html {
  const at = coordinate(y);
  return html`<line class="grid" x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${at}" y2="${at}"/><text class="tick end" x="${LEFT - 8}" y="${at}" dy="0.35em">${text}</text>`;
}

function frontLine(points: readonly Placed[]): Html {
  const front = points.filter(({ marked }) => marked).sort((a, b) => a.cx - b.cx || a.cy - b.cy);
  const path = front.map(({ cx, cy }) => `${coordinate(cx)},${coordinate(cy)}`).join(' ');
  return html`<polyline class="line series-after dashed" points="${path}"/>`;
}

function dot({ label, cx, cy, radius, marked }: Placed): Html {
  const tone = marked ? 'after' : 'floor';
  return html`<circle class="dot series-${tone}" fill-opacity="0.8" cx="${coordinate(cx)}" cy="${coordinate(cy)}" r="${coordinate(radius)}"><title>${label}</title></circle>`;
}

/** Names right of their dots; one that would cover another moves down. */
function labels(points: readonly Placed[]): Html {
  const taken: { x: number; y: number }[] = [];
  const texts = [...points]
    .sort((a, b) => a.cy - b.cy || a.cx - b.cx)
    .map(({ label, cx, cy, radius }) => {
      const x = cx + radius + 5;
      let y = cy;
      while (taken.some((other) => Math.abs(other.y - y) < LINE_HEIGHT && Math.abs(other.x - x) < RIGHT)) y += 2;
      taken.push({ x, y });
      return html`<text class="legend" x="${coordinate(x)}" y="${coordinate(y)}" dy="0.35em">${label}</text>`;
    });
  return html`${texts}`;
}
