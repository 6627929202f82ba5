import { bytes, percent } from './format-number.js';
import type { CoverageData } from './report-data.js';

/** What float side branches cost, in a sentence for people. */
export function branchSentence({ layers, macs, bytes: size }: NonNullable<CoverageData['branches']>): string {
  return `${layers} of the layers have a float side branch of low rank beside them: ${percent(macs)} more multiply-adds, ${bytes(size)} of the file.`;
}
