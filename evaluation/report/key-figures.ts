import type { Score } from '../../contracts/score.js';
import { bytes, fixed, percent, signed } from './format-number.js';
import { metricName, scoreInterval, scoreValue } from './format-score.js';
import { type Html, html } from './html.js';
import type { ReportData } from './report-data.js';
import { isSameSeed } from './score-groups.js';
import { shippedColumn } from './verdict.js';

interface Figure {
  readonly label: string;
  readonly value: string;
  readonly detail: string;
}

/** The few numbers that people look for first; those that were not measured are left out. */
export function keyFigures(data: ReportData): Html | false {
  const figures = [
    shippedColumn(data.scores) === undefined ? listFigures(data.scoreList ?? []) : columnFigures(data),
    sizeFigures(data),
  ].flat();
  if (figures.length === 0) return false;
  return html`<dl class="figures">${figures.map(
    ({ label, value, detail }) => html`<div><dt>${label}</dt><dd>${value}<small>${detail}</small></dd></div>
`,
  )}</dl>`;
}

function columnFigures({ scores }: ReportData): Figure[] {
  const figures: Figure[] = [];
  const shipped = shippedColumn(scores);
  if (shipped?.psnrDb !== undefined && shipped.psnrDb !== null) {
    const floor = scores.columns.find(({ role }) => role === 'floor')?.psnrDb;
    const detail =
      floor === undefined || floor === null ? `n = ${shipped.samples}` : `noise floor ${fixed(floor, 1)} dB`;
    figures.push({ label: 'Same-seed PSNR', value: `${fixed(shipped.psnrDb, 2)} dB`, detail });
  }
  if (scores.paired) {
    const { psnrDb } = scores.paired;
    const detail = `95 % interval ${signed(psnrDb.low, 2)} to ${signed(psnrDb.high, 2)}`;
    figures.push({ label: 'Brought by finetuning', value: `${signed(psnrDb.mean, 2)} dB`, detail });
  }
  return figures;
}

/** Same-seed PSNR, then the first distance to float and to the reference. */
function listFigures(scores: readonly Score[]): Figure[] {
  const found = [
    { label: 'Same-seed PSNR', score: scores.find((score) => score.metric === 'psnr' && isSameSeed(score)) },
    { label: 'to float', score: scores.find((score) => score.against === 'float' && !isSameSeed(score)) },
    { label: 'to the reference', score: scores.find(({ against }) => against === 'reference') },
  ];
  return found.flatMap(({ label, score }) =>
    score === undefined || score.value === null
      ? []
      : [
          {
            label: score.metric === 'psnr' ? label : `${metricName(score.metric)} ${label}`,
            value: `${scoreValue(score, score.value)}${score.unit === 'dB' ? ' dB' : ''}`,
            detail: listDetail(score),
          },
        ],
  );
}

function listDetail(score: Score): string {
  if (score.floor !== null) return `noise floor ${scoreValue(score, score.floor, 3)}, n = ${score.n}`;
  return score.low === null ? `n = ${score.n}` : `${scoreInterval(score)}, n = ${score.n}`;
}

function sizeFigures({ size, coverage, scheme }: ReportData): Figure[] {
  const figures: Figure[] = [];
  if (size) {
    const { floatBytes, quantizedBytes } = size;
    const detail = `1/${fixed(floatBytes / quantizedBytes, 1)} of the float ${bytes(floatBytes)}`;
    figures.push({ label: 'Denoiser on disk', value: bytes(quantizedBytes), detail });
  }
  if (coverage) {
    const detail = `and ${percent(coverage.parameters)} of the weights`;
    figures.push({ label: `Multiply-adds in ${scheme}`, value: percent(coverage.macs), detail });
  }
  return figures;
}
