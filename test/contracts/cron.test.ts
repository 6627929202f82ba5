import { describe, expect, it } from 'vitest';
import { type Cron, inRanges, parseCron } from '../../contracts/cron.js';

const parsed = (text: string): Cron => {
  const cron = parseCron(text);
  if (typeof cron === 'string') throw new Error(cron);
  return cron;
};
/** The numbers low … high that a field lets through. */
const values = (field: Cron[keyof Cron], low: number, high: number): number[] =>
  Array.from({ length: high - low + 1 }, (_, index) => low + index).filter((value) => inRanges(value, field));

describe('cron expressions', () => {
  it('have five fields of numbers, names, ranges, steps and lists', () => {
    const cron = parsed('5,*/20 1-3,22 1-31/10 JAN,jun-AUG MON-FRI');
    expect(values(cron.minute, 0, 59)).toEqual([0, 5, 20, 40]);
    expect(values(cron.hour, 0, 23)).toEqual([1, 2, 3, 22]);
    expect(values(cron.dayOfMonth, 1, 31)).toEqual([1, 11, 21, 31]);
    expect(values(cron.month, 1, 12)).toEqual([1, 6, 7, 8]);
    expect(values(cron.dayOfWeek, 0, 6)).toEqual([1, 2, 3, 4, 5]);
    expect(values(parsed('10/25 * * * *').minute, 0, 59)).toEqual([10, 35]);
  });

  it('call Sunday 0 and 7, and know the usual shorthands', () => {
    for (const sunday of ['0', '7', 'SUN']) {
      expect(values(parsed(`0 0 * * ${sunday}`).dayOfWeek, 0, 6)).toEqual([0]);
    }
    expect(values(parsed('0 0 * * 5-7').dayOfWeek, 0, 6)).toEqual([0, 5, 6]);
    expect(parsed('@daily')).toEqual(parsed('0 0 * * *'));
  });

  it.each([
    ['0 2 * *', 'five fields'],
    ['0 2 * * * *', 'five fields'],
    ['60 2 * * *', 'minute'],
    ['0 24 * * *', 'hour'],
    ['0 2 0 * *', 'day of month'],
    ['0 2 * 13 *', 'month'],
    ['0 2 * * 8', 'day of week'],
    ['0 2 * * FOO', 'day of week'],
    ['0 5-2 * * *', 'ends before it starts'],
    ['*/0 * * * *', 'minute'],
    ['*-3 * * * *', 'minute'],
    ['', 'five fields'],
  ])('%j is refused', (text, message) => {
    expect(parseCron(text)).toContain(message);
  });
});
