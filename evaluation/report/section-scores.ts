import { branchSentence } from './branch-sentence.js';
import { bytes, count, percent, shortCount, signed } from './format-number.js';
import { type Html, html } from './html.js';
import type { CoverageData, PairedDifference, ReportData, ScoreTableData, SizeData } from './report-data.js';
import { scoreNotes, scoreRows } from './score-rows.js';
import { layerBytesBars } from './section-layer-bytes.js';
import { shippedColumn } from './verdict.js';

const BETTER = { higher: 'higher is better', lower: 'lower is better' } as const;

/** The headline table with its notes and the paired difference. */
export function scoreSection(scores: ScoreTableData): Html | false {
  if (scores.columns.length === 0) return false;
  const best = shippedColumn(scores);
  const shipped = best === undefined ? -1 : scores.columns.indexOf(best);
  const mark = (index: number) => (index === shipped ? 'shipped' : '');
  const rows = scoreRows(scores).map(
    ({ label, better, cells, detail }) => html`<tr${detail && html` class="detail"`}><th scope="row">${label}${
      better !== null && html` <span class="hint">${BETTER[better]}</span>`
    }</th>${cells.map((cell, i) => html`<td class="${mark(i)}">${cell}</td>`)}</tr>
`,
  );
  return html`<h2>Scores</h2>
<div class="scroll"><table class="scores"><thead><tr><th scope="col"></th>${scores.columns.map(
    ({ label }) => html`<th scope="col">${label}</th>`,
  )}</tr></thead><tbody>
${rows}</tbody></table></div>
<div class="notes">${scores.paired && html`<p>${pairedNote(scores.paired)}</p>`}${scoreNotes(scores).map(
    (note) => html`<p>${note}</p>`,
  )}</div>`;
}

function pairedNote({ psnrDb, n }: PairedDifference): string {
  const ends = `${signed(psnrDb.low, 2)} to ${signed(psnrDb.high, 2)}`;
  return `Paired difference of same-seed PSNR, finetuned minus before: ${signed(psnrDb.mean, 2)} dB, 95 % interval ${ends}, n = ${n}.`;
}

/** Bytes and coverage, side by side, and the bytes of the largest layers. */
export function sizeSection(data: ReportData): Html | false {
  const bars = data.layers && layerBytesBars(data.layers);
  if (data.size === undefined && data.coverage === undefined && bars === undefined) return false;
  return html`<h2>Size and coverage</h2>
<div class="columns">${data.coverage && coverageTable(data.coverage, data.scheme)}${data.size && sizeTable(data.size)}</div>${bars}`;
}

function coverageTable(coverage: CoverageData, scheme: string): Html {
  const total = (key: 'layers' | 'parameters' | 'macs') => coverage.byBits.reduce((sum, row) => sum + row[key], 0);
  const macs = total('macs');
  const rows = coverage.byBits.map(
    (
      row,
    ) => html`<tr><th scope="row">${row.bits}</th><td>${count(row.layers)}</td><td>${shortCount(row.parameters)}</td><td>${shortCount(
      row.macs,
    )}</td><td>${percent(macs > 0 ? row.macs / macs : 0)}</td></tr>
`,
  );
  return html`<div><div class="scroll"><table><thead><tr><th scope="col">Bits of weight and input</th><th scope="col">Layers</th><th scope="col">Weights</th><th scope="col">MACs</th><th scope="col">Share</th></tr></thead><tbody>
${rows}</tbody></table></div>
<p class="notes">In ${scheme}: ${percent(coverage.layers)} of the layers, ${percent(coverage.parameters)} of the weights, ${percent(
    coverage.macs,
  )} of the multiply-adds (MACs, per sample and step).${coverage.branches && html` ${branchSentence(coverage.branches)}`}</p></div>`;
}

function sizeTable({ floatBytes, quantizedBytes, parts = [] }: SizeData): Html {
  const share = (size: number) => percent(size / quantizedBytes);
  return html`<div><div class="scroll"><table><thead><tr><th scope="col">Denoiser file</th><th scope="col">Bytes</th><th scope="col"></th><th scope="col">Share</th></tr></thead><tbody>
${parts.map(
  (
    part,
  ) => html`<tr><th scope="row">${part.label}</th><td>${count(part.bytes)}</td><td>${bytes(part.bytes)}</td><td>${share(part.bytes)}</td></tr>
`,
)}<tr><th scope="row">Quantized, together</th><td>${count(quantizedBytes)}</td><td>${bytes(quantizedBytes)}</td><td>${share(quantizedBytes)}</td></tr>
<tr><th scope="row">Float</th><td>${count(floatBytes)}</td><td>${bytes(floatBytes)}</td><td></td></tr>
</tbody></table></div></div>`;
}
