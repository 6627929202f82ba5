import { z } from 'zod';

/** One line of the quality table: what a pipeline reaches under the protocol. */
export const qualityRowSchema = z.strictObject({
  label: z.string(),
  /** Mean over the pictures of the PSNR to the float picture of the same prompt and noise. */
  psnrDb: z.number(),
  psnrTenthPercentileDb: z.number().nullable(),
  latentSqnrDb: z.number(),
  frechetToFloat: z.number(),
  frechetToReference: z.number(),
  /** Σ(y − ŷ)² / Σy² of the denoiser's output over the triples. */
  denoiserRelativeMse: z.number().nullable(),
  /** Share 0…1 of convolution and linear multiply-adds whose weight and input are both 4 bit; null when not counted. */
  macsAtFourBits: z.number().nullable(),
  /** Extra multiply-adds of a float side branch, as a share of the denoiser's; null without one. */
  floatBranchMacs: z.number().nullable(),
  /** Of calibration and finetuning. */
  minutes: z.number().nullable(),
});
export type QualityRow = z.infer<typeof qualityRowSchema>;

/** `baselines.json` beside a protocol: what others reach under it, and who measured that how. */
export const publishedRowsSchema = z.strictObject({
  source: z.string(),
  /** Pictures behind every row. */
  samples: z.number().int().positive(),
  rows: z.array(qualityRowSchema),
});
export type PublishedRows = z.infer<typeof publishedRowsSchema>;

/** From this share of multiply-adds at 4 × 4 bits a row counts as fully covered: first and last layer are 8 bit everywhere. */
export const FULL_COVERAGE = 0.98;

/** Whether nearly every multiply-add is 4 × 4 bits and no float branch runs beside them. */
export function isFullyCovered(row: QualityRow): boolean {
  return row.floatBranchMacs === null && isMostlyFourBits(row);
}

/** Whether nearly every multiply-add is 4 × 4 bits, whatever runs beside them. */
export function isMostlyFourBits({ macsAtFourBits }: QualityRow): boolean {
  return macsAtFourBits !== null && macsAtFourBits >= FULL_COVERAGE;
}

/** The fully covered row with the highest PSNR; undefined when there is none. */
export function bestFullyCovered(rows: readonly QualityRow[]): QualityRow | undefined {
  return rows.filter(isFullyCovered).toSorted((a, b) => b.psnrDb - a.psnrDb)[0];
}

/** The row with the highest PSNR among those at 4 × 4 bits beside which a float branch runs; undefined when there is none. */
export function bestWithBranch(rows: readonly QualityRow[]): QualityRow | undefined {
  return rows
    .filter((row) => row.floatBranchMacs !== null && isMostlyFourBits(row))
    .toSorted((a, b) => b.psnrDb - a.psnrDb)[0];
}
