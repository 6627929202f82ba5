import { z } from 'zod';
import { DASH, fixed, percent, significant } from '../../evaluation/report/format-number.js';
import { type QualityRow, qualityRowSchema } from './published-rows.js';
import type { Claim } from './quality-claims.js';

/** A line of the table with what only our own measurements have; null for the float model and for what others measured. */
export const tableRowSchema = z.strictObject({
  ...qualityRowSchema.shape,
  /** Of the shipped denoiser file. */
  denoiserBytes: z.number().nullable(),
  /** float bytes / shipped bytes. */
  ratio: z.number().nullable(),
  /** False when a part of the minutes was spent elsewhere: by another program, or by an interrupted run. */
  minutesAreComplete: z.boolean(),
  /** Largest resident size of engine and program together. */
  peakBytes: z.number().nullable(),
});
export type TableRow = z.infer<typeof tableRowSchema>;

const COLUMNS: readonly { readonly title: string; readonly cell: (row: TableRow) => string }[] = [
  { title: 'row', cell: ({ label }) => label },
  { title: 'same-seed PSNR (10th percentile) dB', cell: psnr },
  { title: 'latent SQNR dB', cell: ({ latentSqnrDb }) => fixed(latentSqnrDb, 1) },
  { title: 'Fréchet to float', cell: ({ frechetToFloat }) => fixed(frechetToFloat, 4) },
  { title: 'Fréchet to reference', cell: ({ frechetToReference }) => fixed(frechetToReference, 3) },
  { title: 'UNet rel. MSE', cell: ({ denoiserRelativeMse }) => fixed(denoiserRelativeMse, 5) },
  { title: 'MACs at 4×4', cell: ({ macsAtFourBits }) => percent(macsAtFourBits) },
  {
    title: 'float branch MACs',
    cell: ({ floatBranchMacs: share }) => (share === null ? DASH : `+${percent(share, 0)}`),
  },
  { title: 'bytes', cell: ({ denoiserBytes }) => (denoiserBytes === null ? DASH : String(denoiserBytes)) },
  { title: 'of float', cell: ({ ratio }) => (ratio === null ? DASH : `1/${significant(ratio)}`) },
  { title: 'minutes', cell: minutes },
  {
    title: 'peak MB',
    cell: ({ peakBytes }) => (peakBytes === null ? DASH : fixed(peakBytes / 1e6, 0)),
  },
];

function psnr({ psnrDb, psnrTenthPercentileDb: low }: TableRow): string {
  return low === null ? fixed(psnrDb, 2) : `${fixed(psnrDb, 2)} (${fixed(low, 1)})`;
}

function minutes(row: TableRow): string {
  return row.minutes === null ? DASH : `${row.minutesAreComplete ? '' : '> '}${fixed(row.minutes, 1)}`;
}

/** The rows as a markdown table. */
export function qualityTable(rows: readonly TableRow[]): string {
  return markdownTable(
    COLUMNS.map(({ title }) => title),
    rows.map((row) => COLUMNS.map(({ cell }) => cell(row))),
  );
}

/** The claims as a markdown table, a line each. */
export function claimTable(claims: readonly Claim[]): string {
  return markdownTable(
    ['recipe', 'claim', 'measured', 'met'],
    claims.map(({ recipe, claim, measured, met }) => [recipe, claim, measured, met ? 'yes' : '**no**']),
  );
}

function markdownTable(titles: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(titles), `|${'---|'.repeat(titles.length)}`, ...rows.map(line)].join('\n');
}

/** A published row has no file of ours. */
export function tableRow(row: QualityRow, file: Partial<TableRow> = {}): TableRow {
  return { ...row, denoiserBytes: null, ratio: null, minutesAreComplete: true, peakBytes: null, ...file };
}
