import type { NightTrend, TrendData, TrendPanel, TrendPoint } from '../nights/trend-data.js';
import { DASH } from './format-number.js';
import { metricName, scoreValue } from './format-score.js';
import { type Html, html } from './html.js';
import { htmlPage } from './html-page.js';
import { shortTime, svgTrendChart } from './svg-trend-chart.js';

/** Nights in the table below a chart. */
const TABLE_ROWS = 14;

/** The history of all nights as one self-contained page: a chart for each pipeline and score. Same data, same bytes; all texts are escaped. */
export function renderTrend({ nights }: TrendData): string {
  const names = nights.map(({ name }) => name).join(', ');
  return htmlPage(
    `Nights: ${names} · nibbleflow`,
    html`<header>
<p class="eyebrow">nibbleflow trend</p>
<h1>Nightly evaluations</h1>
<p class="verdict">${nights.length === 0 ? 'No nights have run yet.' : nights.map(nightSentence)}</p>
${legend()}
</header>
${nights.map(nightSection)}`,
  );
}

function nightSentence({ name, last, nights, absent }: NightTrend): Html {
  if (last === null) return html`<b>${name}</b> has not run yet. `;
  const count = nights === 1 ? '1 night' : `${nights} nights`;
  const gone = absent.length === 0 ? '' : `, ${absent.length} did not run`;
  return html`<b>${name}</b>: ${last.verdict} on ${shortTime(last.at)} UTC (${count}${gone}). `;
}

/** What the shapes mean. */
function legend(): Html {
  const entries: readonly (readonly [Html, string])[] = [
    [html`<circle class="dot series-after" cx="17" cy="7" r="3.2"/>`, 'steady'],
    [html`<circle class="hollow" cx="17" cy="7" r="3.2"/>`, 'learning, or measured later'],
    [html`<circle class="suspect" cx="17" cy="7" r="5"/>`, 'suspect'],
    [html`<path class="alarm" d="M17,1 l6,6 l-6,6 l-6,-6 z"/>`, 'regression'],
    [html`<line class="line series-floor" x1="2" x2="32" y1="7" y2="7"/>`, 'baseline'],
    [html`<line class="line series-before dashed" x1="2" x2="32" y1="7" y2="7"/>`, 'worse beyond this'],
    [html`<line class="mark" x1="17" x2="17" y1="0" y2="14"/>`, 'a new baseline begins'],
    [html`<path class="cross absent" d="M13,3 l8,8 m0,-8 l-8,8"/>`, 'did not run'],
    [html`<path class="cross failed" d="M13,3 l8,8 m0,-8 l-8,8"/>`, 'failed'],
  ];
  return html`<p class="notes trend-key">${entries.map(
    ([shape, text]) =>
      html`<span><svg class="key" viewBox="0 0 34 14" aria-hidden="true">${shape}</svg> ${text}</span> `,
  )}</p>`;
}

function nightSection(night: NightTrend): Html {
  const { name, cron, timezone, panels, absent } = night;
  const pipelines = [...new Set(panels.map(({ pipeline }) => pipeline))];
  const when = cron === null ? 'not in the configuration any more' : `due ${cron}, ${timezone}`;
  return html`<h2>${name} <span class="hint">${when}</span></h2>
${panels.length === 0 && html`<p class="empty">No scores yet.</p>`}
${pipelines.map(
  (pipeline) => html`<h3>${pipeline}</h3>
<div class="columns">${panels.filter((panel) => panel.pipeline === pipeline).map((panel) => panelFigure(panel, absent))}</div>
`,
)}${absent.length > 0 && absentTable(night)}`;
}

function panelFigure(panel: TrendPanel, absent: NightTrend['absent']): Html {
  const { name, metric, unit, better, points } = panel;
  const last = points.at(-1);
  const direction = better === null ? '' : `, ${better} is better`;
  return html`<figure>
<figcaption><b>${metricName(metric)}</b> <code>${name}</code>${unit === '' ? '' : ` in ${unit}`}${direction}${last && html` · last ${scoreValue(panel, last.value)}, ${last.verdict}`}</figcaption>
${svgTrendChart(panel, absent)}
<details><summary class="hint">${points.length === 1 ? 'The only night' : `The last ${Math.min(TABLE_ROWS, points.length)} nights`}</summary>
<div class="scroll"><table class="layers"><thead><tr><th scope="col">Due (UTC)</th><th scope="col">Value</th><th scope="col">Interval</th><th scope="col">Baseline</th><th scope="col" class="text">Verdict</th></tr></thead><tbody>
${[...points]
  .slice(-TABLE_ROWS)
  .reverse()
  .map((point) => pointRow(point, panel))}</tbody></table></div></details>
</figure>`;
}

function pointRow(point: TrendPoint, panel: TrendPanel): Html {
  const { at, value, low, high, baseline, verdict, note, late } = point;
  const shown = (number: number | null): string => scoreValue(panel, number);
  const interval = low === null || high === null ? DASH : `${shown(low)} to ${shown(high)}`;
  const remarks = [verdict, ...(late ? ['measured later'] : []), ...(note === '' ? [] : [note])].join('; ');
  return html`<tr><th scope="row">${shortTime(at)}</th><td>${shown(value)}</td><td>${interval}</td><td>${shown(baseline)}</td><td class="text">${remarks}</td></tr>
`;
}

function absentTable({ absent }: NightTrend): Html {
  return html`<details><summary class="hint">Nights that did not run: ${absent.length}</summary>
<table class="facts"><tbody>
${absent.map(
  ({ at, why }) => html`<tr><th scope="row">${shortTime(at)} UTC</th><td>${why}</td></tr>
`,
)}</tbody></table></details>`;
}
