import type { Score } from '../../contracts/score.js';
import { fixed, signed } from './format-number.js';
import { intervalName, pValueText, scoreInterval, scoreValue } from './format-score.js';
import type { PairedDifference, ReportData, ScoreColumn, ScoreTableData } from './report-data.js';
import { isSameSeed } from './score-groups.js';

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
export function verdict(data: Pick<ReportData, 'scheme' | 'scores' | 'scoreList'>): string {
  const shipped = shippedColumn(data.scores);
  if (shipped?.psnrDb === undefined || shipped.psnrDb === null) return listVerdict(data.scheme, data.scoreList ?? []);
  const sentences = [
    `At the same seeds the ${data.scheme} pictures match the float model’s with a PSNR of ${fixed(shipped.psnrDb, 1)} dB (n = ${shipped.samples}).`,
  ];
  if (data.scores.paired) sentences.push(pairedSentence(data.scores.paired));
  const floor = data.scores.columns.find(({ role }) => role === 'floor');
  if (floor?.psnrDb !== undefined && floor.psnrDb !== null)
    sentences.push(floorSentence('quantized', shipped.psnrDb, floor.psnrDb));
  return sentences.join(' ');
}

/** The same from a list of scores; a difference is said to be seen when a permutation test gives less than this. */
const SIGNIFICANT = 0.05;

function listVerdict(scheme: string, scores: readonly Score[]): string {
  const sentences: string[] = [];
  const psnr = scores.find((score) => score.metric === 'psnr' && isSameSeed(score));
  if (psnr !== undefined && psnr.value !== null) {
    const interval = psnr.low === null ? '' : `, ${intervalName(psnr)} interval ${scoreInterval(psnr)}`;
    sentences.push(
      `At the same seeds the ${scheme} pictures match the float model’s with a PSNR of ${fixed(psnr.value, 1)} dB (n = ${psnr.n}${interval}).`,
    );
    if (psnr.floor !== null) sentences.push(floorSentence(scheme, psnr.value, psnr.floor));
  }
  const tested = scores.find(({ against, pValue }) => against === 'float' && pValue !== null);
  if (tested !== undefined && tested.pValue !== null) sentences.push(testSentence(tested, tested.pValue));
  if (sentences.length > 0) return sentences.join(' ');
  const [first] = scores.filter(({ value }) => value !== null);
  if (first === undefined) return `This ${scheme} pipeline has not been evaluated.`;
  return `${first.name} is ${scoreValue(first, first.value)}${first.unit === '' ? '' : ` ${first.unit}`} (n = ${first.n}).`;
}

function testSentence({ metric, n }: Score, pValue: number): string {
  const numbers = `(${metric}, p = ${pValueText(pValue)}, n = ${n})`;
  return pValue < SIGNIFICANT
    ? `As a set they are told from the float model’s by a permutation test ${numbers}.`
    : `As a set they are not told from the float model’s by a permutation test of this many pictures ${numbers}.`;
}

function floorSentence(which: string, shipped: number, floor: number): string {
  const other = `Other seeds of the float model itself reach ${fixed(floor, 1)} dB`;
  return shipped > floor
    ? `${other}: the ${which} pictures are closer than another seed’s.`
    : `${other}: the ${which} pictures still differ more than another seed’s.`;
}
