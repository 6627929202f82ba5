import { bytes, DASH, duration, fixed, significant } from './format-number.js';
import { type Html, html } from './html.js';
import { htmlPage } from './html-page.js';
import { svgScatter } from './svg-scatter.js';

/** One run of a sweep, as the page shows it. */
export interface SweepRow {
  readonly name: string;
  /** Same-seed PSNR to the float pictures, dB; null when the run failed. */
  readonly psnrDb: number | null;
  /** Σ(y − ŷ)² / Σy² of the denoiser's outputs. */
  readonly relativeMse: number | null;
  readonly frechet: number | null;
  readonly denoiserBytes: number | null;
  readonly floatDenoiserBytes: number | null;
  readonly workSeconds: number | null;
  /** No other run is better in quality, size and minutes at once. */
  readonly onFront: boolean;
  /** Why there are no numbers; empty otherwise. */
  readonly message: string;
  /** The run's folder beside the page. */
  readonly folder: string;
}

export interface SweepPage {
  readonly pipeline: string;
  readonly samples: number;
  readonly parallel: number;
  readonly workflowId: string;
  readonly rows: readonly SweepRow[];
}

/** The page of a sweep: quality × size × minutes, the Pareto front marked. Same data, same bytes; every text is escaped. */
export function renderSweep(page: SweepPage): string {
  const { pipeline, samples, rows, parallel, workflowId } = page;
  const failed = rows.filter(({ psnrDb }) => psnrDb === null).length;
  const front = rows.filter(({ onFront }) => onFront);
  return htmlPage(
    `${pipeline}, swept · nibbleflow`,
    html`<header>
<p class="eyebrow">nibbleflow sweep</p>
<h1>${pipeline}: ${rows.length} runs</h1>
<p class="verdict">${front.length === 1 ? 'One run is' : `${front.length} runs are`} on the Pareto front: nothing here is at once better, smaller and quicker to make.${
      failed > 0 && ` ${failed} of ${rows.length} runs failed.`
    }</p>
</header>
<h2>Quality, size and minutes</h2>
<figure><div class="scroll">${svgScatter({
      title: 'PSNR against size',
      xLabel: 'denoiser, MB',
      yLabel: 'same-seed PSNR, dB',
      points: rows.flatMap(pointOf),
    })}</div><figcaption>Blue: on the front. Larger dots took longer to make.</figcaption></figure>
${table(rows)}
<div class="notes">
<p>PSNR, denoiser error and Fréchet distance are to the float pipeline with the same prompts and seeds, n = ${samples}. Only equal settings of evaluation compare.</p>
<p>Minutes are the work of every stage that makes the pipeline, without evaluations; stages that several runs share count for each of them. Times of the same step of 10 % count as equal. Up to ${parallel} ${
      parallel === 1 ? 'run' : 'runs'
    } shared this machine.</p>
<p>Workflow <code>${workflowId}</code></p>
</div>`,
  );
}

function pointOf({ name, psnrDb, denoiserBytes, workSeconds, onFront }: SweepRow) {
  if (psnrDb === null || denoiserBytes === null || workSeconds === null) return [];
  return [{ label: name, x: denoiserBytes / 1e6, y: psnrDb, weight: workSeconds, marked: onFront }];
}

function table(rows: readonly SweepRow[]): Html {
  return html`<div class="scroll"><table class="scores"><thead><tr><th scope="col">Run</th><th scope="col">PSNR</th><th scope="col">Denoiser error</th><th scope="col">Fréchet</th><th scope="col">Denoiser</th><th scope="col">Smaller</th><th scope="col">Work</th><th scope="col">Front</th></tr></thead><tbody>
${rows.map(tableRow)}</tbody></table></div>`;
}

function tableRow(row: SweepRow): Html {
  if (row.psnrDb === null) {
    return html`<tr><th scope="row">${row.name}</th><td class="text" colspan="7">failed: ${row.message}</td></tr>
`;
  }
  const { denoiserBytes: size, floatDenoiserBytes: float, workSeconds } = row;
  return html`<tr class="${row.onFront ? 'shipped' : ''}"><th scope="row">${row.name}</th><td>${fixed(row.psnrDb, 2)} dB</td><td>${significant(
    row.relativeMse,
  )}</td><td>${significant(row.frechet)}</td><td>${size === null ? DASH : bytes(size)}</td><td>${
    size === null || float === null ? DASH : `${fixed(float / size, 2)}×`
  }</td><td>${workSeconds === null ? DASH : duration(workSeconds)}</td><td>${row.onFront && '✓'}</td></tr>
`;
}
