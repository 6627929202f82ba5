import type { Score } from '../../contracts/score.js';
import { coordinate } from './axis-ticks.js';
import { type Html, html } from './html.js';

const WIDTH = 140;
const HEIGHT = 22;
const MIDDLE = HEIGHT / 2;
/** Room at both ends for half a dot. */
const EDGE = 6;

/**
 * One score on its own scale: a dot for the value, a bar for its interval, an upright mark for the noise floor. Scales of
 * distances hold zero. Nothing for scores without a finite value.
 */
export function svgInterval(score: Score): Html | false {
  const { value, low, high, floor, better } = score;
  const finite = [value, low, high, floor].filter(hasValue);
  if (!hasValue(value)) return false;
  const shown = better === 'lower' ? [...finite, 0] : finite;
  const smallest = Math.min(...shown);
  const span = Math.max(...shown) - smallest;
  const x = (at: number) => coordinate(span > 0 ? EDGE + ((at - smallest) / span) * (WIDTH - 2 * EDGE) : WIDTH / 2);
  const bar =
    hasValue(low) &&
    hasValue(high) &&
    html`<line class="interval" x1="${x(low)}" x2="${x(high)}" y1="${MIDDLE}" y2="${MIDDLE}"/>`;
  const mark =
    hasValue(floor) &&
    html`<line class="floor-mark" x1="${x(floor)}" x2="${x(floor)}" y1="${MIDDLE - 8}" y2="${MIDDLE + 8}"/>`;
  return html`<svg class="plot" viewBox="0 0 ${WIDTH} ${HEIGHT}" width="${WIDTH}" height="${HEIGHT}" role="img" aria-label="${score.name} on its scale"><line class="grid" x1="${EDGE}" x2="${WIDTH - EDGE}" y1="${MIDDLE}" y2="${MIDDLE}"/>${bar}${mark}<circle class="dot series-after" cx="${x(value)}" cy="${MIDDLE}" r="3.6"/></svg>`;
}

function hasValue(value: number | null): value is number {
  return value !== null && Number.isFinite(value);
}
