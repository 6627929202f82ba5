import type { Score } from '../../contracts/score.js';
import { DASH } from './format-number.js';
import { intervalName, pValueText, scoreCounts, scoreInterval, scoreValue } from './format-score.js';
import { breakable, type Html, html } from './html.js';
import { footnotesOf, type ScoreGroup, scoreGroups } from './score-groups.js';
import { svgInterval } from './svg-interval.js';

const ARROWS = { higher: '↑', lower: '↓' } as const;

/**
 * Every score with its interval, the noise floor and the p-value, same-seed metrics first; notes once, as footnotes. The last
 * column draws each on its own scale.
 */
export function scoreListSection(scores: readonly Score[], title: string): Html | false {
  if (scores.length === 0) return false;
  const groups = scoreGroups(scores);
  const footnotes = footnotesOf(groups.flatMap((group) => group.scores));
  const protocols = [...new Set(scores.flatMap(({ protocol }) => (protocol === null ? [] : [protocol])))];
  return html`<h2>${title}</h2>
<div class="scroll"><table class="score-list"><thead><tr><th scope="col">Score</th><th scope="col">Value</th><th scope="col">Interval</th><th scope="col">Noise floor</th><th scope="col">p</th><th scope="col">n</th><th scope="col" class="plot">On its own scale</th></tr></thead>
${groups.map((group) => groupBody(group, footnotes))}</table></div>
<div class="notes"><p>${legend()} ↑ higher is better, ↓ lower is better; p: probability of a difference this large if both sets came from one distribution; n: pictures, and reference pictures where they are another number.</p>
${
  footnotes.length > 0 &&
  html`<ol class="footnotes">${footnotes.map((note) => html`<li>${note}</li>`)}</ol>
`
}${protocols.map(
  (digest) => html`<p>Protocol <code>${digest}</code>. Scores of other protocols, names or n are other numbers.</p>
`,
)}</div>`;
}

function groupBody({ title, about, scores }: ScoreGroup, footnotes: readonly string[]): Html {
  return html`<tbody><tr class="group"><th scope="rowgroup" colspan="7">${title} <span class="hint">${about}</span></th></tr>
${scores.map((score) => scoreRow(score, footnotes))}</tbody>
`;
}

function scoreRow(score: Score, footnotes: readonly string[]): Html {
  const marks = score.notes.map((note) => footnotes.indexOf(note) + 1).join(' ');
  const direction = score.better === null ? '' : ` ${ARROWS[score.better]}`;
  const interval = scoreInterval(score);
  return html`<tr><th scope="row"><code>${breakable(score.name, /(?<=[[\]@-])/)}</code>${direction}${
    marks !== '' && html`<sup>${marks}</sup>`
  }</th><td class="value">${scoreValue(score, score.value)}${
    score.unit !== '' && html` <span class="hint">${score.unit}</span>`
  }</td><td>${interval}${interval !== DASH && html`<br><span class="hint">${intervalName(score)}</span>`}</td><td>${scoreValue(
    score,
    score.floor,
    3,
  )}</td><td>${pValueText(score.pValue)}</td><td>${scoreCounts(score)}</td><td class="plot">${svgInterval(score)}</td></tr>
`;
}

function legend(): Html {
  return html`<svg class="key" viewBox="0 0 34 14" width="34" height="14" aria-hidden="true"><line class="interval" x1="2" x2="26" y1="7" y2="7"/><circle class="dot series-after" cx="14" cy="7" r="3.6"/><line class="floor-mark" x1="31" x2="31" y1="1" y2="13"/></svg> value, interval and noise floor.`;
}
