import { decodePicture } from '../activities/images/decode-picture.js';
import { encodePng } from '../activities/images/encode-png.js';
import type { ExitCode } from '../contracts/errors.js';
import { metricSettingsSchema } from '../contracts/protocol.js';
import { executorProducts } from '../evaluation/linalg/executor-products.js';
import { type Images, imageSize } from '../evaluation/metrics/image-pairs.js';
import { SET_METRICS } from '../evaluation/metrics/set-metrics.js';
import { significant } from '../evaluation/report/format-number.js';
import { evaluationSelfTest } from '../evaluation/self-test/evaluation-self-test.js';
import type { SelfTestRow } from '../evaluation/self-test/self-test-row.js';
import { concatRows, sliceRows } from '../models/tensors/tensor.js';
import { print } from './console-output.js';
import type { ExtractorOptions } from './extractor-options.js';
import { breatheUntil, checkPictureWork, withEngine } from './measure-pictures.js';
import { untilInterrupted } from './until-interrupted.js';

/** Options of the self-test. */
export interface SelfTestOptions extends ExtractorOptions {
  readonly output: 'text' | 'json';
}

/**
 * `nibbleflow evaluate --self-test`: checks on this machine what evaluation promises, with the engine and the extractor that
 * are there. Prints a row per check; returns 1 when one of them fails.
 */
export function runEvaluationSelfTest(options: SelfTestOptions): Promise<ExitCode> {
  return untilInterrupted(async (signal) => {
    const work = await checkPictureWork(options, signal);
    const rows = await withEngine(work, async (executor) => {
      const products = executorProducts(executor);
      const extractor = await executor.open(work.extractor.model);
      try {
        return await evaluationSelfTest({
          extractor,
          spec: work.extractor.spec,
          throughPng,
          metrics: SET_METRICS,
          context: { products, settings: metricSettingsSchema.parse({}), breathe: breatheUntil(signal) },
        });
      } finally {
        await extractor.release();
        await products.release();
      }
    });
    print(options.output === 'json' ? JSON.stringify(rows, null, 2) : selfTestTable(rows));
    return rows.every(({ passed }) => passed) ? 0 : 1;
  });
}

async function throughPng(images: Images): Promise<Images> {
  const { n } = imageSize(images);
  const read: Images[] = [];
  for (let i = 0; i < n; i += 1) {
    read.push((await decodePicture(await encodePng(sliceRows(images, i, i + 1)))).image);
  }
  return concatRows(read);
}

/** Aligned: verdict, measured value, what it may be, what was checked; then the verdict on all. */
function selfTestTable(rows: readonly SelfTestRow[]): string {
  const cells = rows.map(({ name, value, tolerance, passed }) => [
    passed ? 'ok' : 'FAILED',
    significant(value, 3),
    `≤ ${significant(tolerance, 3)}`,
    name,
  ]);
  const widths = [0, 1, 2].map((c) => Math.max(...cells.map((row) => row[c]?.length ?? 0)));
  const lines = cells.map((row) =>
    row.map((text, c) => (c === 1 ? text.padStart(widths[c] ?? 0) : text.padEnd(widths[c] ?? 0))).join('  '),
  );
  const failed = rows.filter(({ passed }) => !passed).length;
  const verdict = failed === 0 ? `All ${rows.length} checks passed.` : `${failed} of ${rows.length} checks failed.`;
  return [...lines, verdict].join('\n');
}
