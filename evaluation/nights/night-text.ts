import type { NightMetric, NightPipeline, NightRecord } from '../../contracts/night-record.js';
import { scoreValue } from '../report/format-score.js';

/** A night in lines for people: the verdict first, then a line for each pipeline, then nights that did not run. */
export function nightText(record: NightRecord): string {
  return [
    `${record.night}, ${record.at.slice(0, 16).replace('T', ' ')} UTC: ${record.verdict}`,
    ...record.pipelines.map((pipeline) => `  ${pipelineText(pipeline)}`),
    ...absenceText(record).map((line) => `  ${line}`),
  ].join('\n');
}

/** `quest: regression · psnr 21.20 dB, baseline 23.80 (14 nights)` */
export function pipelineText({ name, verdict, failure, metrics }: NightPipeline): string {
  if (failure !== null) return `${name}: failed · ${failure.message.split('\n')[0]}`;
  if (metrics.length === 0) return `${name}: ${verdict} · none of the night's metrics was scored`;
  const told = metrics.filter((metric) => metric.verdict === verdict);
  return `${name}: ${verdict} · ${told.map(metricText).join(' · ')}`;
}

/** What did not run since the night before. */
export function absenceText({ missed, skipped, absent }: NightRecord): string[] {
  const lines: string[] = [];
  if (missed > 0) lines.push(`${nights(missed)} missed: the server was down for longer than the catch-up window`);
  if (skipped > 0) lines.push(`${nights(skipped)} skipped: the night before still ran`);
  const rest = absent.length - missed - skipped;
  if (rest > 0) lines.push(`${nights(rest)} did not run: paused, or not applied`);
  return lines;
}

function metricText(metric: NightMetric): string {
  const { name, value, baseline, baselineNights, unit, note } = metric;
  const shown = `${name} ${scoreValue(metric, value)}${unit === 'dB' ? ' dB' : ''}`;
  if (baseline === null) return `${shown}${note === '' ? '' : ` (${note})`}`;
  return `${shown}, baseline ${scoreValue(metric, baseline)} (${nights(baselineNights)})`;
}

function nights(count: number): string {
  return count === 1 ? '1 night' : `${count} nights`;
}
