import type { MetricContext, SetMetric } from '../metrics/set-metric.js';
import { type ExtractionParts, extractionChecks } from './extraction-checks.js';
import { closedFormChecks, inceptionScoreChecks, kidCheck, productsCheck, sameSetChecks } from './metric-checks.js';
import type { SelfTestRow } from './self-test-row.js';

/**
 * Whether evaluation works on this machine: what must be zero is zero, closed forms come out, and neither order nor batches
 * nor PNG files change a number. Takes seconds.
 */
export async function evaluationSelfTest(parts: ExtractionParts): Promise<SelfTestRow[]> {
  const { metrics, context }: { metrics: readonly SetMetric[]; context: MetricContext } = parts;
  return [
    await productsCheck(context),
    ...(await sameSetChecks(metrics, context)),
    ...(await closedFormChecks(metrics, context)),
    await kidCheck(metrics, context),
    ...(await inceptionScoreChecks(metrics, context)),
    ...(await extractionChecks(parts)),
  ];
}
