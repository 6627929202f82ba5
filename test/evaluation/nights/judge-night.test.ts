import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import type { NightOutcome } from '../../../contracts/night-activities.js';
import { type NightRecord, nightRecordSchema } from '../../../contracts/night-record.js';
import { nightSpecSchema } from '../../../contracts/nights.js';
import { protocolSchema } from '../../../contracts/protocol.js';
import type { Score } from '../../../contracts/score.js';
import { judgeNight } from '../../../evaluation/nights/judge-night.js';
import { nightText } from '../../../evaluation/nights/night-text.js';
import { nightTrend } from '../../../evaluation/nights/trend-data.js';
import { renderTrend } from '../../../evaluation/report/render-trend.js';

const night = nightSpecSchema.parse({
  ...{ schemaVersion: 1, name: 'quality', owner: '/config', cron: '0 2 * * *', timezone: 'UTC' },
  pipelines: [{ name: 'tiny', folder: '/tiny', against: null, reference: null }],
  protocol: protocolSchema.parse({ name: 'tiny' }),
  compute: { device: 'cpu', threads: 1 },
  out: '/out',
  metrics: ['psnr', 'visual-dna'],
});

const psnr: Score = {
  ...{ name: 'psnr-64', metric: 'psnr', against: 'float', value: 20, low: 19, high: 21, level: 0.95 },
  ...{ interval: 'student-t', n: 64, referenceN: 64, unit: 'dB', better: 'higher', floor: 15, pValue: null },
  ...{ extractor: null, protocol: null, notes: [] },
};

interface Tonight {
  readonly value?: number;
  readonly protocol?: string;
  readonly name?: string;
  readonly failure?: NightOutcome['failure'];
  readonly startedAt?: string;
  readonly counts?: NightRecord['counts'];
  readonly due?: readonly string[];
}

/** Nights in a row, from 2026-01-01 on. */
class History {
  readonly records: NightRecord[] = [];
  private days = 0;

  add(tonight: Tonight = {}) {
    this.days += 1;
    const at = `2026-01-${String(this.days).padStart(2, '0')}T02:00:00.000Z`;
    const spec = {
      ...{ candidate: { digest: 'c' }, against: { digest: 'f' }, reference: null, compute: { device: 'cpu' } },
      protocolDigest: tonight.protocol ?? 'p',
    } as unknown as NightOutcome['spec'];
    const scores = [
      { ...psnr, name: tonight.name ?? psnr.name, value: tonight.value ?? 20 },
      { ...psnr, metric: 'ssim', name: 'ssim-64' },
    ];
    const outcome = { name: 'tiny', failure: tonight.failure ?? null, workflowId: 'w', spec, report: null, scores };
    const { counts = null, due = [], startedAt = at } = tonight;
    const run = { workflowId: 'n', runId: `run-${this.days}`, at, startedAt, scheduleId: 's' };
    const digest = (text: string): string => createHash('sha256').update(text).digest('hex');
    const judged = judgeNight({ night, run, outcomes: [outcome], history: this.records, counts, due, digest });
    this.records.push(nightRecordSchema.parse(judged.record));
    return judged;
  }

  /** The one metric that is judged. */
  metric() {
    return this.records.at(-1)?.pipelines[0]?.metrics[0];
  }
}

const steady = (): History => {
  const history = new History();
  for (let day = 0; day < 6; day += 1) history.add();
  return history;
};

describe('a night', () => {
  it('judges the metrics it names, against the nights before', () => {
    const history = steady();
    expect(history.records.at(-1)?.pipelines[0]?.metrics.map(({ metric }) => metric)).toEqual(['psnr']);
    expect(history.metric()).toMatchObject({ verdict: 'steady', baseline: 20, baselineNights: 3, threshold: 1 });
    history.add({ value: 18 });
    expect(history.metric()?.verdict).toBe('suspect');
    expect(history.add({ value: 18 }).events).toEqual(['regression', 'finished']);
    expect(nightText(history.records.at(-1) as NightRecord)).toContain(
      'tiny: regression · psnr-64 18.00 dB, baseline 20.00',
    );
  });

  it.each([
    ['another protocol', { protocol: 'other' }, 'a new baseline: other protocol'],
    ['another number of pictures', { name: 'psnr-128' }, 'a new baseline: other extractor or number of pictures'],
  ])('never compares with %s, and says so', (_, change, note) => {
    const history = steady();
    history.add({ value: 10, ...change });
    expect(history.metric()).toMatchObject({ verdict: 'learning', baseline: null, baselineNights: 0, note });
    history.add({ value: 10, ...change });
    expect(history.metric()).toMatchObject({ verdict: 'learning', note: '' });
    // And back: the old baseline counts again.
    history.add();
    expect(history.metric()).toMatchObject({ verdict: 'steady', note: '' });
  });

  it('that was run much later is shown, but is no part of baselines and alarms', () => {
    const history = steady();
    for (let day = 0; day < 8; day += 1) {
      history.add({ value: 18, startedAt: '2026-02-20T02:00:00.000Z' });
      expect(history.records.at(-1)?.late).toBe(true);
    }
    // Eight bad backfilled nights would be most of the window.
    history.add({ value: 20 });
    expect(history.metric()).toMatchObject({ verdict: 'steady', baseline: 20, baselineNights: 4 });
  });

  it('fails where a pipeline could not be evaluated, and recovers', () => {
    const history = steady();
    const failed = history.add({ failure: { kind: 'InvalidModel', message: 'no model' } });
    expect(failed).toMatchObject({ record: { verdict: 'failed' }, events: ['failed', 'finished'] });
    expect(history.add()).toMatchObject({ record: { verdict: 'steady' }, events: ['recovered', 'finished'] });
  });

  it('tells what did not run since the night before, also when the schedule was made anew', () => {
    const history = new History();
    history.add({ counts: { missed: 1, skipped: 4 } });
    const due = ['2026-01-01T12:00:00.000Z', '2026-01-01T18:00:00.000Z', '2026-01-01T20:00:00.000Z'];
    const { record, events } = history.add({ counts: { missed: 2, skipped: 5 }, due });
    expect(record).toMatchObject({ missed: 1, skipped: 1, absent: due });
    expect(events).toEqual(['missed', 'skipped', 'finished']);
    expect(nightText(record)).toContain('1 night did not run: paused, or not applied');
    expect(history.add({ counts: { missed: 2, skipped: 5 } }).events).toEqual(['finished']);
    expect(history.add({ counts: { missed: 0, skipped: 1 } }).record).toMatchObject({ missed: 0, skipped: 1 });
  });
});

describe('the page of trends', () => {
  it('escapes what names and failures hold, and marks alarms, failures and absent nights', () => {
    const history = steady();
    const bad = '<script>alert("x")</script>';
    history.add({ failure: { kind: 'Internal', message: bad } });
    history.add({ value: 18 });
    history.add({ value: 18, counts: { missed: 1, skipped: 0 }, due: ['2026-01-08T20:00:00.000Z'] });
    const trend = nightTrend({ name: bad, cron: '0 2 * * *', timezone: 'UTC' }, history.records, []);
    expect(trend.absent).toEqual([{ at: '2026-01-08T20:00:00.000Z', why: 'missed' }]);
    const page = renderTrend({ schemaVersion: 1, nights: [trend] });
    expect(page).not.toContain('<script');
    expect(page).toContain('&lt;script&gt;');
    const charts = page.slice(page.indexOf('<h2'));
    for (const [mark, times] of [
      ['"alarm"', 1],
      ['"suspect"', 1],
      ['"cross failed"', 1],
      ['"cross absent"', 1],
    ] as const) {
      expect(charts.split(`class=${mark}`).length - 1).toBe(times);
    }
    expect(renderTrend({ schemaVersion: 1, nights: [trend] })).toBe(page);
    expect(renderTrend({ schemaVersion: 1, nights: [] })).toContain('No nights have run yet.');
  });
});
