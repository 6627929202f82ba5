/**
 * Cron expressions of five fields (minute, hour, day of month, month, day of week), as far as Temporal understands them: a time
 * matches when all fields match, days of month and of week included. Checked here, so that a bad one is refused before
 * anything is written, and so that times can be told without a server.
 */

/** Whole numbers start, start + step, … ≤ end. */
export interface CronRange {
  readonly start: number;
  readonly end: number;
  readonly step: number;
}

/** The ranges of each field; days of week from 0, Sunday, to 6. */
export interface Cron {
  readonly minute: readonly CronRange[];
  readonly hour: readonly CronRange[];
  readonly dayOfMonth: readonly CronRange[];
  readonly month: readonly CronRange[];
  readonly dayOfWeek: readonly CronRange[];
}

interface Field {
  readonly key: keyof Cron;
  readonly title: string;
  readonly low: number;
  readonly high: number;
  /** Names of low, low + 1, … */
  readonly names: readonly string[];
}

const MONTHS = ['JAN', 'FEB', 'MAR', 'APR', 'MAY', 'JUN', 'JUL', 'AUG', 'SEP', 'OCT', 'NOV', 'DEC'];
const DAYS = ['SUN', 'MON', 'TUE', 'WED', 'THU', 'FRI', 'SAT'];
/** In the order of the expression. 7 is Sunday too. */
const FIELDS: readonly Field[] = [
  { key: 'minute', title: 'minute', low: 0, high: 59, names: [] },
  { key: 'hour', title: 'hour', low: 0, high: 23, names: [] },
  { key: 'dayOfMonth', title: 'day of month', low: 1, high: 31, names: [] },
  { key: 'month', title: 'month', low: 1, high: 12, names: MONTHS },
  { key: 'dayOfWeek', title: 'day of week', low: 0, high: 7, names: DAYS },
];

const SHORTHANDS: Readonly<Record<string, string>> = {
  '@hourly': '0 * * * *',
  '@daily': '0 0 * * *',
  '@midnight': '0 0 * * *',
  '@weekly': '0 0 * * 0',
  '@monthly': '0 0 1 * *',
};

/** The fields of an expression, or a sentence that says what is wrong with it. */
export function parseCron(text: string): Cron | string {
  const words = (SHORTHANDS[text.trim()] ?? text).trim().split(/\s+/);
  if (words.length !== FIELDS.length) {
    return `a cron expression has five fields (minute, hour, day of month, month, day of week), not ${words.length}`;
  }
  const cron: Partial<Record<keyof Cron, readonly CronRange[]>> = {};
  for (const [index, field] of FIELDS.entries()) {
    const ranges = parseField(words[index] ?? '', field);
    if (typeof ranges === 'string') return ranges;
    cron[field.key] = field.key === 'dayOfWeek' ? weekDays(ranges) : ranges;
  }
  return cron as Cron;
}

/** Whether a number is in one of the ranges. */
export function inRanges(value: number, ranges: readonly CronRange[]): boolean {
  return ranges.some(({ start, end, step }) => value >= start && value <= end && (value - start) % step === 0);
}

function parseField(word: string, field: Field): CronRange[] | string {
  const ranges: CronRange[] = [];
  for (const part of word.split(',')) {
    const range = parsePart(part, field);
    if (typeof range === 'string') return range;
    ranges.push(range);
  }
  return ranges;
}

function parsePart(part: string, field: Field): CronRange | string {
  const match = /^(\*|[A-Za-z0-9]+)(?:-([A-Za-z0-9]+))?(?:\/(\d{1,2}))?$/.exec(part);
  const top = field.key === 'dayOfWeek' ? 6 : field.high;
  const step = Number(match?.[3] ?? 1);
  if (match === null || step === 0 || (match[1] === '*' && match[2] !== undefined)) {
    return `${field.title}: “${part}” is none of *, 5, 1-5, */15 and 1,15`;
  }
  if (match[1] === '*') return { start: field.low, end: top, step };
  const start = numberOf(match[1] ?? '', field);
  const last = match[3] === undefined ? start : top;
  const end = match[2] === undefined ? last : numberOf(match[2], field);
  if (Number.isNaN(start) || Number.isNaN(end)) return `${field.title}: “${part}” is not within ${span(field)}`;
  return start <= end ? { start, end, step } : `${field.title}: “${part}” ends before it starts`;
}

function numberOf(word: string, { low, high, names }: Field): number {
  const named = names.indexOf(word.toUpperCase());
  if (named >= 0) return low + named;
  const value = /^\d{1,2}$/.test(word) ? Number(word) : Number.NaN;
  return value >= low && value <= high ? value : Number.NaN;
}

function span({ low, high, names }: Field): string {
  return names.length === 0 ? `${low}-${high}` : `${low}-${high} or ${names[0]}-${names.at(-1)}`;
}

/** 7 becomes 0. */
function weekDays(ranges: readonly CronRange[]): CronRange[] {
  return ranges.flatMap(({ start, end, step }) => {
    if (end < 7) return [{ start, end, step }];
    const sunday = inRanges(7, [{ start, end, step }]) ? [{ start: 0, end: 0, step: 1 }] : [];
    return start > 6 ? sunday : [...sunday, { start, end: 6, step }];
  });
}
