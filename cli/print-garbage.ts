import type { GarbageReport, GarbageRow } from '../activities/store/collect-garbage.js';
import { type OutputFormat, print } from './console-output.js';

export interface CollectedGarbage {
  /** Folder or URL of the store. */
  readonly store: string;
  readonly report: GarbageReport;
  /** Copies on this host of a shared store's artifacts; null without a shared store. */
  readonly cache: GarbageRow | null;
  readonly rule: { readonly keepDays: number; readonly keepRuns: number };
}

/** What was, or would be, deleted: a table, one JSON document, or a line for each kind. */
export function printGarbage({ store, report, cache, rule }: CollectedGarbage, format: OutputFormat): void {
  const { applied, kept, spared } = report;
  const garbage = [...report.garbage, ...(cache === null || cache.count === 0 ? [] : [cache])];
  const bytes = garbage.reduce((sum, row) => sum + row.bytes, 0);
  if (format === 'json') {
    print(JSON.stringify({ schemaVersion: 1, store, applied, rule, garbage, bytes, spared, kept }, null, 2));
    return;
  }
  if (format === 'jsonl') {
    for (const row of garbage) print(JSON.stringify({ schemaVersion: 1, event: 'garbage', ...row }));
    print(JSON.stringify({ schemaVersion: 1, event: 'collected', store, applied, rule, bytes, spared, kept }));
    return;
  }
  print(textOf(garbage, bytes, { store, report, cache, rule }));
}

function textOf(garbage: readonly GarbageRow[], bytes: number, { store, report, rule }: CollectedGarbage): string {
  const { applied, kept, spared } = report;
  const rows = garbage.map(({ kind, count, bytes: size }) => [kind, `${count}`, sizeText(size)] as const);
  const widths = [0, 1, 2].map((column) => Math.max(0, ...rows.map((row) => row[column]?.length ?? 0)));
  const lines = rows.map(
    ([kind, count, size]) =>
      `  ${kind.padEnd(widths[0] ?? 0)}  ${count.padStart(widths[1] ?? 0)}  ${size.padStart(widths[2] ?? 0)}`,
  );
  const total = `${sizeText(bytes)} of ${sizeText(bytes + kept.bytes)}`;
  return [
    `${store}: kept are ${rule.keepDays} days of results, the last ${rule.keepRuns} runs, running and pinned ones`,
    ...lines,
    garbage.length === 0 ? 'Nothing to delete.' : `${applied ? 'Deleted' : 'Would delete'} ${total}.`,
    ...(spared > 0 ? [`${spared} were used meanwhile and stay.`] : []),
    ...(applied || garbage.length === 0 ? [] : ['`nibbleflow gc --apply` deletes it.']),
  ].join('\n');
}

function sizeText(bytes: number): string {
  if (bytes >= 1e9) return `${(bytes / 1e9).toFixed(2)} GB`;
  return bytes >= 1e6 ? `${(bytes / 1e6).toFixed(1)} MB` : `${(bytes / 1e3).toFixed(1)} kB`;
}
