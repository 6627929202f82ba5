import type { MetricValue, SetMetric } from '../metrics/set-metric.js';

/** One line of the self-test. */
export interface SelfTestRow {
  readonly name: string;
  /** What was measured: a distance from what must come out. */
  readonly value: number;
  /** The largest value that passes. */
  readonly tolerance: number;
  readonly passed: boolean;
}

/** A row that passes when 0 ≤ value ≤ tolerance; NaN fails. */
export function selfTestRow(name: string, value: number, tolerance: number): SelfTestRow {
  return { name, value, tolerance, passed: value <= tolerance };
}

/** A metric by its name in the table; a self-test without one of its metrics must not pass. */
export function metricById(metrics: readonly SetMetric[], id: string): SetMetric {
  const found = metrics.find((metric) => metric.id === id);
  if (found === undefined) throw new RangeError(`no metric ${id}`);
  return found;
}

/** One of the numbers of a metric. */
export function numberOf(values: readonly MetricValue[], name: string): number {
  return values.find(({ metric }) => metric === name)?.value ?? Number.NaN;
}
