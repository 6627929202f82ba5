import { type Cron, inRanges } from './cron.js';

/**
 * When a cron expression comes due in a time zone, as Temporal has it: the wall clock is matched literally. A wall time that is left out when
 * clocks go forward never comes, one that is repeated when they go back comes twice.
 */

const MINUTE = 60_000;
const DAY = 24 * 60 * MINUTE;
/** Longest span that is looked through: nights of two years. */
const LONGEST = 2 * 366 * DAY;

/** Minutes east of UTC at an instant; throws RangeError for a time zone that is not known. */
export function zoneOffset(timezone: string): (at: number) => number {
  const format = new Intl.DateTimeFormat('en-US', {
    ...{ timeZone: timezone, hourCycle: 'h23', year: 'numeric', month: 'numeric', day: 'numeric' },
    ...{ hour: 'numeric', minute: 'numeric' },
  });
  return (at) => {
    const parts: Partial<Record<string, number>> = {};
    for (const { type, value } of format.formatToParts(at)) parts[type] = Number(value);
    const { year = 0, month = 1, day = 1, hour = 0, minute = 0 } = parts;
    return (Date.UTC(year, month - 1, day, hour, minute) - Math.floor(at / MINUTE) * MINUTE) / MINUTE;
  };
}

/** Whether this machine knows a time zone by that name. */
export function isTimezone(timezone: string): boolean {
  try {
    zoneOffset(timezone);
    return true;
  } catch {
    return false;
  }
}

/** Instants in ms with from < t ≤ to at which the expression is due, in order; of spans above two years the last two. */
export function nightTimes(cron: Cron, timezone: string, from: number, to: number): number[] {
  const offset = zoneOffset(timezone);
  const first = Math.max(from, to - LONGEST);
  const found: number[] = [];
  // Wall-clock days, a day more on both sides: no zone is further from UTC than that.
  for (let day = Math.floor(first / DAY) - 1; day <= Math.floor(to / DAY) + 1; day += 1) {
    if (!isDue(cron, day)) continue;
    for (const minute of minutesOf(cron)) {
      const wall = day * DAY + minute * MINUTE;
      for (const at of instantsOf(wall, offset)) if (at > first && at <= to) found.push(at);
    }
  }
  return [...new Set(found)].sort((a, b) => a - b);
}

/** A due time that clock changes leave out or repeat. */
export interface ClockChange {
  /** `2027-03-28 02:30`, by the wall clock of the zone. */
  readonly wall: string;
  readonly happens: 'never' | 'twice';
}

/** Due times of from < t ≤ to (ms) that never come or come twice. */
export function clockChanges(cron: Cron, timezone: string, from: number, to: number): ClockChange[] {
  const offset = zoneOffset(timezone);
  const found: ClockChange[] = [];
  for (let day = Math.floor(from / DAY) + 1; day <= Math.floor(to / DAY); day += 1) {
    // Most days have one offset from the midnight before to the one after.
    if (!isDue(cron, day) || offset((day - 1) * DAY) === offset((day + 2) * DAY)) continue;
    for (const minute of minutesOf(cron)) {
      const wall = day * DAY + minute * MINUTE;
      const times = instantsOf(wall, offset).length;
      if (times !== 1) found.push({ wall: wallText(wall), happens: times === 0 ? 'never' : 'twice' });
    }
  }
  return found;
}

/** `2027-03-28 02:30` on the wall clock of a zone. */
export function wallClock(at: number, timezone: string): string {
  return wallText(at + zoneOffset(timezone)(at) * MINUTE);
}

/** Instants at which a zone's clocks show a wall time (written as if it were UTC): none, one or two. */
function instantsOf(wall: number, offset: (at: number) => number): number[] {
  const offsets = new Set([offset(wall - DAY), offset(wall), offset(wall + DAY)]);
  return [...offsets].map((minutes) => wall - minutes * MINUTE).filter((at) => at + offset(at) * MINUTE === wall);
}

/** @param day days since 1970-01-01, a Thursday */
function isDue({ dayOfMonth, month, dayOfWeek }: Cron, day: number): boolean {
  const date = dateOf(day * DAY);
  return (
    inRanges((((day + 4) % 7) + 7) % 7, dayOfWeek) &&
    inRanges(Number(date.slice(8, 10)), dayOfMonth) &&
    inRanges(Number(date.slice(5, 7)), month)
  );
}

function minutesOf({ hour, minute }: Cron): number[] {
  const all = Array.from({ length: 24 * 60 }, (_, index) => index);
  return all.filter((index) => inRanges(Math.floor(index / 60), hour) && inRanges(index % 60, minute));
}

const UTC_DAY = new Intl.DateTimeFormat('sv-SE', {
  timeZone: 'UTC',
  year: 'numeric',
  month: '2-digit',
  day: '2-digit',
});

/** `2027-03-28` */
function dateOf(wall: number): string {
  return UTC_DAY.format(wall);
}

function wallText(wall: number): string {
  const minute = Math.floor((((wall % DAY) + DAY) % DAY) / MINUTE);
  const pad = (value: number): string => String(value).padStart(2, '0');
  return `${dateOf(wall)} ${pad(Math.floor(minute / 60))}:${pad(minute % 60)}`;
}
