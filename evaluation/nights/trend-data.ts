import type { NightMetric, NightRecord, NightVerdict } from '../../contracts/night-record.js';

/** What a night has become of, and what the page of trends draws; JSON of `nibbleflow trend --output json`. */
export interface TrendData {
  readonly schemaVersion: 1;
  readonly nights: readonly NightTrend[];
}

export interface NightTrend {
  readonly name: string;
  /** When it is due; null for a night that the configuration no longer has. */
  readonly cron: string | null;
  readonly timezone: string;
  readonly nights: number;
  readonly last: { readonly at: string; readonly verdict: NightVerdict } | null;
  readonly panels: readonly TrendPanel[];
  /** Due, and none ran: ISO times in order. */
  readonly absent: readonly AbsentNight[];
}

export interface AbsentNight {
  readonly at: string;
  readonly why: 'missed' | 'skipped' | 'not run';
}

/** One pipeline × score. */
export interface TrendPanel {
  readonly pipeline: string;
  /** Name of the score as of the last night that has it. */
  readonly name: string;
  readonly metric: string;
  readonly against: NightMetric['against'];
  readonly unit: string;
  readonly better: NightMetric['better'];
  readonly points: readonly TrendPoint[];
  /** Nights in which the pipeline could not be evaluated. */
  readonly failed: readonly { readonly at: string; readonly message: string }[];
}

export interface TrendPoint
  extends Pick<NightMetric, 'value' | 'low' | 'high' | 'baseline' | 'threshold' | 'verdict' | 'note' | 'key'> {
  readonly at: string;
  /** Measured long after it was due. */
  readonly late: boolean;
}

/**
 * The history of a night, score by score.
 * @param due when it should have run since the last record: ISO times
 */
export function nightTrend(
  night: { readonly name: string; readonly cron: string | null; readonly timezone: string },
  records: readonly NightRecord[],
  due: readonly string[],
): NightTrend {
  const last = records.at(-1);
  return {
    ...night,
    nights: records.length,
    last: last === undefined ? null : { at: last.at, verdict: last.verdict },
    panels: panelsOf(records),
    absent: absentNights(records, due),
  };
}

function panelsOf(records: readonly NightRecord[]): TrendPanel[] {
  const series = new Map<string, { pipeline: string; latest: NightMetric; points: TrendPoint[] }>();
  for (const { at, late, pipelines } of records) {
    for (const { name: pipeline, metrics } of pipelines) {
      for (const found of metrics) {
        const id = JSON.stringify([pipeline, found.metric, found.against]);
        const { value, low, high, baseline, threshold, verdict, note, key } = found;
        const point = { at, value, low, high, baseline, threshold, verdict, note, key, late };
        const points = [...(series.get(id)?.points ?? []), point];
        series.set(id, { pipeline, latest: found, points });
      }
    }
  }
  return [...series.values()].map(({ pipeline, latest, points }) => {
    const { name, metric, against, unit, better } = latest;
    return { pipeline, name, metric, against, unit, better, points, failed: failuresOf(records, pipeline) };
  });
}

function failuresOf(records: readonly NightRecord[], wanted: string): TrendPanel['failed'] {
  return records.flatMap(({ at, pipelines }) =>
    pipelines.flatMap(({ name, failure }) =>
      name === wanted && failure !== null ? [{ at, message: failure.message }] : [],
    ),
  );
}

/** Nights that were run later are not absent any more. The server counts what it left out, without saying which: where it was all of one kind that is told. */
function absentNights(records: readonly NightRecord[], due: readonly string[]): AbsentNight[] {
  const ran = new Set(records.map(({ at }) => at));
  const told = records.flatMap(({ absent, missed, skipped }) => {
    const why = missed >= absent.length ? 'missed' : skipped >= absent.length ? 'skipped' : 'not run';
    return absent.map((at): AbsentNight => ({ at, why }));
  });
  const since = due.map((at): AbsentNight => ({ at, why: 'not run' }));
  return [...told, ...since].filter(({ at }) => !ran.has(at)).sort((a, b) => (a.at < b.at ? -1 : 1));
}
