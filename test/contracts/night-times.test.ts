import { describe, expect, it } from 'vitest';
import { type Cron, inRanges, parseCron } from '../../contracts/cron.js';
import { clockChanges, nightTimes, wallClock } from '../../contracts/night-times.js';

const HOUR = 3_600_000;
const cronOf = (text: string) => parseCron(text) as Cron;
const times = (text: string, timezone: string, from: string, to: string) =>
  nightTimes(cronOf(text), timezone, Date.parse(from), Date.parse(to)).map((at) => new Date(at).toISOString());

/** The same by asking for the wall clock of every minute. */
function byMinutes(text: string, timezone: string, from: string, to: string): string[] {
  const cron = cronOf(text);
  const found: string[] = [];
  const format = new Intl.DateTimeFormat('en-GB', {
    ...{ timeZone: timezone, weekday: 'short', day: '2-digit', month: '2-digit', hour: '2-digit', minute: '2-digit' },
    hourCycle: 'h23',
  });
  for (let at = Date.parse(from) + 60_000; at <= Date.parse(to); at += 60_000) {
    const parts = Object.fromEntries(format.formatToParts(at).map(({ type, value }) => [type, value]));
    const day = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat'].indexOf(parts.weekday ?? '');
    const matches =
      inRanges(Number(parts.minute), cron.minute) &&
      inRanges(Number(parts.hour), cron.hour) &&
      inRanges(Number(parts.day), cron.dayOfMonth) &&
      inRanges(Number(parts.month), cron.month) &&
      inRanges(day, cron.dayOfWeek);
    if (matches) found.push(new Date(at).toISOString());
  }
  return found;
}

describe('due times', () => {
  it.each([
    ['30 2 * * *', 'Europe/Berlin', '2027-03-26T00:00:00Z', '2027-03-31T00:00:00Z'],
    ['30 2 * * *', 'Europe/Berlin', '2027-10-29T00:00:00Z', '2027-11-02T00:00:00Z'],
    ['15,45 0-4 * * SUN,MON', 'America/New_York', '2027-11-05T00:00:00Z', '2027-11-09T00:00:00Z'],
    ['0 2 1,28 * *', 'Australia/Lord_Howe', '2027-03-27T00:00:00Z', '2027-04-05T00:00:00Z'],
    ['10 23 * * *', 'Asia/Kathmandu', '2027-01-01T00:00:00Z', '2027-01-04T00:00:00Z'],
    ['0 12 * * *', 'Pacific/Kiritimati', '2027-01-01T00:00:00Z', '2027-01-04T00:00:00Z'],
    ['0 0 29 2 *', 'UTC', '2028-02-27T00:00:00Z', '2028-03-02T00:00:00Z'],
  ])('%s in %s are those that the wall clock shows', (text, timezone, from, to) => {
    const found = times(text, timezone, from, to);
    expect(found).toEqual(byMinutes(text, timezone, from, to));
    expect(found.length).toBeGreaterThan(0);
  });

  it('keep the hour of the day when clocks change: one night is shorter', () => {
    const found = nightTimes(
      cronOf('0 4 * * *'),
      'Europe/Berlin',
      Date.parse('2027-03-25T12:00:00Z'),
      Date.parse('2027-03-31T00:00:00Z'),
    );
    expect(found.map((at) => wallClock(at, 'Europe/Berlin').slice(-5))).toEqual(new Array(5).fill('04:00'));
    expect(found.map((at, index) => (at - (found[index - 1] ?? at)) / HOUR)).toEqual([0, 24, 23, 24, 24]);
  });

  it('that clocks leave out or repeat are told', () => {
    const year = [Date.parse('2027-01-01T00:00:00Z'), Date.parse('2028-01-01T00:00:00Z')] as const;
    expect(clockChanges(cronOf('30 2 * * *'), 'Europe/Berlin', ...year)).toEqual([
      { wall: '2027-03-28 02:30', happens: 'never' },
      { wall: '2027-10-31 02:30', happens: 'twice' },
    ]);
    expect(clockChanges(cronOf('30 2 * * *'), 'UTC', ...year)).toEqual([]);
    expect(clockChanges(cronOf('0 4 * * *'), 'Europe/Berlin', ...year)).toEqual([]);
    expect(clockChanges(cronOf('30 2 * * SAT'), 'Europe/Berlin', ...year)).toEqual([]);
  });
});
