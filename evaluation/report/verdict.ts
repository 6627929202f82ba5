import { fixed, signed } from './format-number.js';
import type { PairedDifference, ReportData, ScoreColumn, ScoreTableData } from './report-data.js';

/** The shipped evaluation: after finetuning if there is one, else before. */
export function shippedColumn(scores: ScoreTableData): ScoreColumn | undefined {
  return scores.columns.find(({ role }) => role === 'after') ?? scores.columns.find(({ role }) => role === 'before');
}

/** What the paired interval says about finetuning, in one sentence. */
export function pairedSentence({ psnrDb, n }: PairedDifference): string {
  const numbers = `${signed(psnrDb.mean, 2)} dB same-seed PSNR, 95 % interval ${signed(psnrDb.low, 2)} to ${signed(psnrDb.high, 2)}, n = ${n}`;
  if (psnrDb.low > 0) return `Finetuning brought the pictures closer to the float model’s (${numbers}).`;
  if (psnrDb.high < 0) return `Finetuning took the pictures further from the float model’s (${numbers}).`;
  return `Finetuning made no difference that this many pictures can tell from zero (${numbers}).`;
}

/** The result in plain words, for the head of the report. Says only what was measured. */
export function verdict(data: Pick<ReportData, 'scheme' | 'scores'>): string {
  const shipped = shippedColumn(data.scores);
  if (shipped?.psnrDb === undefined || shipped.psnrDb === null)
    return `This ${data.scheme} pipeline has not been evaluated.`;
  const sentences = [
    `At the same seeds the ${data.scheme} pictures match the float model’s with a PSNR of ${fixed(shipped.psnrDb, 1)} dB (n = ${shipped.samples}).`,
  ];
  if (data.scores.paired) sentences.push(pairedSentence(data.scores.paired));
  const floor = data.scores.columns.find(({ role }) => role === 'floor');
  if (floor?.psnrDb !== undefined && floor.psnrDb !== null) sentences.push(floorSentence(shipped.psnrDb, floor.psnrDb));
  return sentences.join(' ');
}

function floorSentence(shipped: number, floor: number): string {
  const other = `Other seeds of the float model itself reach ${fixed(floor, 1)} dB`;
  return shipped > floor
    ? `${other}: the quantized pictures are closer than another seed’s.`
    : `${other}: the quantized pictures still differ more than another seed’s.`;
}
