import { type Html, html } from './html.js';
import type { PromptExtremes, SampleCell, SampleSheet } from './report-data.js';
import { DIFFERENCE_GAIN } from './sample-grid.js';

const PNG_DATA = /^data:image\/png;base64,[A-Za-z0-9+/]+={0,2}$/;

/** The sample grid. Throws RangeError unless the picture is an inline PNG. */
export function sampleSection(sheet: SampleSheet, scheme: string): Html {
  return html`<h2>Samples</h2>
<p class="notes">${tripleNote(scheme)}</p>
${sheetGrid(sheet, 'samples', scheme)}`;
}

/** The pictures that are furthest from and closest to the float ones. Throws RangeError unless they are inline PNGs. */
export function extremesSection(extremes: PromptExtremes, scheme: string): Html {
  const { metric, n, worst, best, better } = extremes;
  const order = better === 'higher' ? ['lowest', 'highest'] : ['highest', 'lowest'];
  return html`<h2>Worst and best prompts</h2>
<p class="notes">Of ${n} same-seed pictures, those with the ${order[0]} and the ${order[1]} ${metric}. ${tripleNote(scheme)}</p>
<h3>Worst ${worst.cells.length}</h3>
${sheetGrid(worst, 'worst', scheme)}
<h3>Best ${best.cells.length}</h3>
${sheetGrid(best, 'best', scheme)}`;
}

function tripleNote(scheme: string): string {
  return (
    `In each triple: float, ${scheme} of the same prompt and start noise, and their absolute difference of levels ` +
    `times ${DIFFERENCE_GAIN}, black where both agree.`
  );
}

/**
 * The sheet's picture once, and every cell of it as a figure of its own with its caption, so that captions wrap and narrow
 * screens get fewer columns.
 */
function sheetGrid({ pngDataUri, width, height, cells }: SampleSheet, id: string, scheme: string): Html {
  if (!PNG_DATA.test(pngDataUri)) throw new RangeError('the sample sheet must be a data:image/png;base64 URI');
  const key = `sheet-${id}`;
  return html`<svg class="source" width="0" height="0" aria-hidden="true"><defs><image id="${key}" href="${pngDataUri}" width="${width}" height="${height}"/></defs></svg>
<div class="triples">
${cells.map((cell) => triple(cell, key, scheme))}</div>`;
}

function triple(cell: SampleCell, key: string, scheme: string): Html {
  const { x, y, width, height, prompt, note } = cell;
  const text = prompt === '' ? '(no prompt)' : prompt;
  return html`<figure class="triple"><svg viewBox="${x} ${y} ${width} ${height}" preserveAspectRatio="xMidYMid slice" role="img" aria-label="float, ${scheme} and difference: ${text}"><use href="#${key}"/></svg><figcaption>${
    note !== undefined && html`<b>${note}</b> `
  }<bdi>${text}</bdi></figcaption></figure>
`;
}
