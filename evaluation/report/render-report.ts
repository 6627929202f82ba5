import { stringify } from 'yaml';
import { duration, percent } from './format-number.js';
import { type Html, html, webAddress } from './html.js';
import { htmlPage } from './html-page.js';
import { kernelNote } from './kernel-note.js';
import { keyFigures } from './key-figures.js';
import type { Fact, ReportData, RunLink, StageRow } from './report-data.js';
import {
  driftSection,
  finetuningChart,
  heatMapSection,
  layerBars,
  layerTable,
  timestepChart,
  trajectoryChart,
} from './section-errors.js';
import { latencySection } from './section-latency.js';
import { extremesSection, sampleSection } from './section-samples.js';
import { scoreListSection } from './section-score-list.js';
import { scoreSection, sizeSection } from './section-scores.js';
import { sensitivitySection } from './section-sensitivity.js';
import { verdict } from './verdict.js';

/**
 * The report of a quantization or an evaluation as one self-contained HTML page: no script, no network, light and dark, printable. Parts of `data` that are absent
 * are left out. Same data, same bytes. All texts are escaped; the only links are to the run.
 */
export function renderReport(data: ReportData): string {
  const title = data.kind === 'evaluation' ? `${data.pipeline}, evaluated` : `${data.pipeline} in ${data.scheme}`;
  return htmlPage(
    `${title} · nibbleflow report`,
    html`<header>
<p class="eyebrow">nibbleflow report${subtitle(data)}</p>
<h1>${title}</h1>
<p class="verdict">${verdict(data)}</p>
${keyFigures(data)}
</header>
${scoreSection(data.scores)}
${scoreListSection(data.scoreList ?? [], data.scores.columns.length > 0 ? 'All scores of the shipped pipeline' : 'Scores')}
${data.samples && sampleSection(data.samples, data.scheme)}
${data.extremes && extremesSection(data.extremes, data.scheme)}
${sizeSection(data)}
${errorSection(data)}
${data.sensitivity && sensitivitySection(data.sensitivity)}
${data.layers && layerTable(data.layers)}
${data.latency && latencySection(data.latency)}
${data.stages && stageSection(data.stages)}
${
  saysKernels(data) &&
  html`<h2>Which kernels ran</h2>
<p>${kernelNote(data.compute.device)}</p>`
}
${(data.notices ?? []).map((notice) => html`<p>${notice}</p>`)}
${data.subjects && factSection('What was compared', data.subjects)}
${factSection('Environment', [...computeFacts(data), ...(data.environment ?? [])])}
${data.protocol && protocolSection(data.protocol)}
${
  data.recipe &&
  html`<h2>Resolved recipe</h2>
<pre>${stringify(data.recipe)}</pre>`
}
${data.run && runSection(data.run)}`,
  );
}

function protocolSection({ settings, digest }: NonNullable<ReportData['protocol']>): Html {
  return html`<h2>Protocol</h2>
<p class="notes">Digest <code>${digest}</code>: only scores of equal protocols are compared.</p>
<pre>${stringify(settings)}</pre>`;
}

function subtitle(data: ReportData): string {
  const named =
    data.protocol === undefined || data.kind !== 'evaluation' ? '' : ` · protocol ${data.protocol.settings.name}`;
  const recipe = data.recipe === undefined ? named : ` · recipe ${data.recipe.name}${named}`;
  const finished = data.run?.finished === undefined ? '' : ` · ${data.run.finished}`;
  return recipe + finished;
}

function errorSection(data: ReportData): Html | false {
  const charts = [
    data.timestepSqnr && timestepChart(data.timestepSqnr),
    data.trajectoryError && trajectoryChart(data.trajectoryError),
    data.finetuning && finetuningChart(data.finetuning),
  ].filter((chart) => chart !== undefined);
  const bars = data.layers && layerBars(data.layers);
  const map = data.layerTimesteps && heatMapSection(data.layerTimesteps);
  const drift = data.drift && driftSection(data.drift);
  if (charts.length === 0 && bars === undefined && map === undefined && drift === undefined) return false;
  return html`<h2>Where the error is</h2>
${charts.length > 0 && html`<div class="columns">${charts}</div>`}
${bars}${map}${drift}`;
}

/** An evaluated folder may be float: only a measured simulation says that codes were rounded. */
function saysKernels({ kind, latency }: ReportData): boolean {
  return kind !== 'evaluation' || (latency?.rows.some(({ simulated }) => simulated) ?? false);
}

function computeFacts({ compute }: ReportData): Fact[] {
  return [
    { label: 'Device', value: compute.device },
    { label: 'Threads', value: String(compute.threads) },
  ];
}

function factSection(title: string, facts: readonly Fact[]): Html {
  return html`<h2>${title}</h2>
<table class="facts"><tbody>
${facts.map(
  ({ label, value }) => html`<tr><th scope="row">${label}</th><td>${value}</td></tr>
`,
)}</tbody></table>`;
}

function stageSection(stages: readonly StageRow[]): Html {
  const total = stages.reduce((sum, { seconds }) => sum + seconds, 0);
  const rows = stages.map(
    ({ name, seconds, reused, summary }) => html`<tr><th scope="row">${name}</th><td class="text">${summary}</td><td>${
      reused ? 'reused' : duration(seconds)
    }</td><td>${!reused && total > 0 && percent(seconds / total, 0)}</td></tr>
`,
  );
  const reused = stages.filter((stage) => stage.reused).length;
  return html`<h2>Stages</h2>
<div class="scroll"><table><thead><tr><th scope="col">Stage</th><th scope="col" class="text">Outcome</th><th scope="col">Work</th><th scope="col">Share</th></tr></thead><tbody>
${rows}</tbody></table></div>
<p class="notes">${duration(total)} of work in ${stages.length} stages; ${reused} of ${stages.length} reused from the store.</p>`;
}

function runSection(run: RunLink): Html {
  const url = webAddress(run.url);
  return html`<h2>This run</h2>
<table class="facts"><tbody>
<tr><th scope="row">Workflow</th><td><code>${run.workflowId}</code></td></tr>
${
  run.runId !== undefined &&
  html`<tr><th scope="row">Run</th><td><code>${run.runId}</code></td></tr>
`
}${
  url !== undefined &&
  html`<tr><th scope="row">Temporal UI</th><td><a href="${url}" rel="noreferrer">${url}</a> (while its server runs)</td></tr>
`
}</tbody></table>`;
}
