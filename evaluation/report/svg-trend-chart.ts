import type { AbsentNight, TrendPanel, TrendPoint } from '../nights/trend-data.js';
import { coordinate, linearTicks, tickText } from './axis-ticks.js';
import { scoreValue } from './format-score.js';
import { type Html, html } from './html.js';

const WIDTH = 520;
const HEIGHT = 230;
const LEFT = 52;
const RIGHT = 14;
const TOP = 14;
const BOTTOM = 46;
/** Where nights without a value are marked. */
const AXIS_Y = HEIGHT - BOTTOM + 9;
const DAY_MS = 24 * 3_600_000;
/** Dates on the axis. */
const DATES = 6;

interface Frame {
  readonly x: (at: string) => number;
  readonly y: (value: number) => number;
  readonly panel: TrendPanel;
}

/**
 * A score night by night: values with their intervals, the baseline that each was compared with, the line behind which a value counts as worse,
 * alarms, and along the axis the nights that did not run or failed. Same data, same bytes.
 */
export function svgTrendChart(panel: TrendPanel, absent: readonly AbsentNight[]): Html {
  const points = panel.points.filter(hasValue);
  const times = [...points, ...panel.failed, ...absent].map(({ at }) => Date.parse(at));
  if (times.length === 0) return html`<p class="empty">No values yet.</p>`;
  const ys = points.flatMap((point) => [point.value, point.low, point.high, point.baseline, alarmLine(point, panel)]);
  const finite = ys.filter((value): value is number => value !== null && Number.isFinite(value));
  const ticks = linearTicks(Math.min(...finite), Math.max(...finite), 4);
  const [low, high] = [ticks[0] ?? 0, ticks.at(-1) ?? 1];
  const [first, last] = [Math.min(...times), Math.max(...times)];
  const share = (at: string) => (last > first ? (Date.parse(at) - first) / (last - first) : 0.5);
  const frame: Frame = {
    panel,
    x: (at) => LEFT + 8 + share(at) * (WIDTH - LEFT - RIGHT - 16),
    y: (value) => HEIGHT - BOTTOM - ((value - low) / (high - low)) * (HEIGHT - TOP - BOTTOM),
  };
  const label = `${panel.pipeline}: ${panel.name}, ${points.length} nights`;
  return html`<svg class="chart" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${label}">
${yAxis(frame, ticks)}${dates(first, last)}
${runsOf(points).map((run, index) => series(frame, run, index > 0))}
${points.map((point) => mark(frame, point))}
${absent.map((night) => cross(frame, night.at, `${shortTime(night.at)}: ${night.why}`, 'absent'))}
${panel.failed.map(({ at, message }) => cross(frame, at, `${shortTime(at)}: failed, ${message}`, 'failed'))}</svg>`;
}

type Valued = TrendPoint & { readonly value: number };

function hasValue(point: TrendPoint): point is Valued {
  return point.value !== null && Number.isFinite(point.value);
}

/** The value behind which the score counts as worse. */
function alarmLine({ baseline, threshold }: TrendPoint, { better }: TrendPanel): number | null {
  if (baseline === null || threshold === null || better === null) return null;
  return better === 'higher' ? baseline - threshold : baseline + threshold;
}

/** Points that may be compared, one after the other; another key is another line. */
function runsOf(points: readonly Valued[]): Valued[][] {
  const runs: Valued[][] = [];
  for (const point of points.filter(({ late }) => !late)) {
    const run = runs.at(-1);
    if (run?.[0]?.key === point.key) run.push(point);
    else runs.push([point]);
  }
  return runs;
}

function series(frame: Frame, run: readonly Valued[], starts: boolean): Html {
  const line = (of: (point: Valued) => number | null, className: string): Html | false => {
    const path = run.flatMap((point) => {
      const y = of(point);
      return y === null ? [] : [`${coordinate(frame.x(point.at))},${coordinate(frame.y(y))}`];
    });
    return path.length > 1 && html`<polyline class="line ${className}" points="${path.join(' ')}"/>`;
  };
  const [first] = run;
  const x = first === undefined ? '' : coordinate(frame.x(first.at) - 5);
  const start =
    starts &&
    first !== undefined &&
    html`<line class="mark" x1="${x}" x2="${x}" y1="${TOP}" y2="${HEIGHT - BOTTOM}"><title>${first.note}</title></line>`;
  return html`${start}${line(({ baseline }) => baseline, 'series-floor')}${line(
    (point) => alarmLine(point, frame.panel),
    'series-before dashed',
  )}${line(({ value }) => value, 'series-after')}`;
}

/** Shapes, not colours alone, tell what was said of a night. */
function mark(frame: Frame, point: Valued): Html {
  const [x, y] = [frame.x(point.at), frame.y(point.value)];
  const { low, high, verdict, late } = point;
  const bar =
    low !== null &&
    high !== null &&
    html`<line class="interval thin" x1="${coordinate(x)}" x2="${coordinate(x)}" y1="${coordinate(frame.y(low))}" y2="${coordinate(frame.y(high))}"/>`;
  const title = html`<title>${pointText(point, frame.panel)}</title>`;
  if (verdict === 'regression') {
    const path = `M${coordinate(x)},${coordinate(y - 6)} l6,6 l-6,6 l-6,-6 z`;
    return html`${bar}<path class="alarm" d="${path}">${title}</path>`;
  }
  const shape = late || verdict === 'learning' ? 'hollow' : verdict === 'suspect' ? 'suspect' : 'dot series-after';
  const radius = verdict === 'suspect' ? 5 : 3.2;
  return html`${bar}<circle class="${shape}" cx="${coordinate(x)}" cy="${coordinate(y)}" r="${radius}">${title}</circle>`;
}

function pointText(point: Valued, panel: TrendPanel): string {
  const shown = (value: number): string => scoreValue(panel, value);
  const baseline = point.baseline === null ? '' : `, baseline ${shown(point.baseline)}`;
  const interval = point.low === null || point.high === null ? '' : ` (${shown(point.low)} to ${shown(point.high)})`;
  const late = point.late ? ', measured later' : '';
  return `${shortTime(point.at)}: ${shown(point.value)}${interval}${baseline}, ${point.verdict}${late}`;
}

function cross({ x }: Frame, at: string, text: string, className: string): Html {
  const left = coordinate(x(at) - 4);
  return html`<path class="cross ${className}" d="M${left},${AXIS_Y - 4} l8,8 m0,-8 l-8,8"><title>${text}</title></path>`;
}

function yAxis({ y }: Frame, ticks: readonly number[]): Html {
  return html`${ticks.map((tick) => {
    const at = coordinate(y(tick));
    return html`<line class="grid" x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${at}" y2="${at}"/><text class="tick end" x="${LEFT - 8}" y="${at}" dy="0.35em">${tickText(tick, ticks)}</text>`;
  })}`;
}

/** Whole days when there are several, else times of day; UTC. */
function dates(first: number, last: number): Html {
  const span = last - first;
  const step = span > DAY_MS ? Math.max(1, Math.ceil(span / DAY_MS / DATES)) * DAY_MS : Math.max(60_000, span / 3);
  const start = span > DAY_MS ? Math.ceil(first / DAY_MS) * DAY_MS : first;
  const texts: Html[] = [];
  for (let at = start; at <= last; at += step) {
    const x = LEFT + 8 + (span > 0 ? (at - first) / span : 0.5) * (WIDTH - LEFT - RIGHT - 16);
    const text = span > DAY_MS ? DAY.format(at) : CLOCK.format(at);
    texts.push(html`<text class="tick middle" x="${coordinate(x)}" y="${HEIGHT - 8}">${text}</text>`);
  }
  return html`${texts}`;
}

const DAY = new Intl.DateTimeFormat('en-GB', { timeZone: 'UTC', day: 'numeric', month: 'short' });
const CLOCK = new Intl.DateTimeFormat('en-GB', { timeZone: 'UTC', hour: '2-digit', minute: '2-digit' });

/** `2026-11-25 02:30` */
export function shortTime(at: string): string {
  return at.slice(0, 16).replace('T', ' ');
}
