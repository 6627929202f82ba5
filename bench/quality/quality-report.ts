import { bytes, count, fixed } from '../../evaluation/report/format-number.js';
import type { pictureDifference } from './protocol-scores.js';
import type { Claim } from './quality-claims.js';
import { claimTable, qualityTable, type TableRow } from './quality-table.js';

/** Everything a run of the bench found out, as its markdown shows it. */
export interface QualityReport {
  readonly date: string;
  readonly machine: string;
  readonly protocol: string;
  readonly samples: number;
  readonly triples: number;
  /** Whether every picture of the protocol was sampled: other numbers do not compare with the published ones. */
  readonly isWhole: boolean;
  readonly floatPictures: ReturnType<typeof pictureDifference>;
  readonly floatToReference: number;
  /** Of the largest engine and of the bench itself, each at its own largest; null where the system does not tell. */
  readonly peakBytes: { readonly engine: number | null; readonly bench: number | null };
  readonly rows: readonly TableRow[];
  readonly claims: readonly Claim[];
  readonly published: { readonly source: string; readonly samples: number; readonly rows: readonly TableRow[] };
  /** A line for each recipe: held-back and training errors, layers, steps. */
  readonly notes: readonly string[];
}

/** The report as markdown. */
export function qualityMarkdown(report: QualityReport): string {
  const { floatPictures, published } = report;
  const partial = report.isWhole ? '' : ' A part of the protocol only: not comparable with the published rows.';
  return [
    `# Quality under ${report.protocol}, ${report.date}`,
    '',
    `${report.samples} pictures, ${report.triples} denoiser calls.${partial}`,
    '',
    `Machine: ${report.machine}. Peak resident memory: ${peak(report.peakBytes)}.`,
    '',
    `Float pictures against the protocol's: ${count(floatPictures.differing)} of ${count(floatPictures.values)} values differ, by at most ${floatPictures.largest} level. Their Fréchet distance to the reference: ${fixed(report.floatToReference, 3)}.`,
    '',
    qualityTable(report.rows),
    '',
    ...(report.claims.length === 0 ? [] : [claimTable(report.claims), '']),
    ...(report.notes.length === 0 ? [] : [...report.notes.map((note) => `- ${note}`), '']),
    `## Others under the same protocol (n = ${published.samples})`,
    '',
    `Source: ${published.source}.`,
    '',
    qualityTable(published.rows),
    '',
  ].join('\n');
}

function peak({ engine, bench }: QualityReport['peakBytes']): string {
  if (engine === null || bench === null) return 'not told by this system';
  return `engine ${bytes(engine)}, bench ${bytes(bench)}, together at most ${bytes(engine + bench)}`;
}
