import { type Html, html } from './html.js';
import type { SampleSheet } from './report-data.js';
import { DIFFERENCE_GAIN } from './sample-grid.js';

const PNG_DATA = /^data:image\/png;base64,[A-Za-z0-9+/]+={0,2}$/;

/** Mean width of a character of the captions' 12 px text. */
const CHARACTER_WIDTH = 6.3;

/** The sample grid with captions and headings. Throws RangeError unless the picture is an inline PNG. */
export function sampleSection(sheet: SampleSheet, scheme: string): Html {
  if (!PNG_DATA.test(sheet.pngDataUri)) throw new RangeError('the sample sheet must be a data:image/png;base64 URI');
  const { width, height, cells } = sheet;
  const top = Math.min(...cells.map(({ y }) => y));
  const headings = cells
    .filter(({ y }) => y === top)
    .flatMap((cell) =>
      ['float', scheme, `difference × ${DIFFERENCE_GAIN}`].map(
        (text, panel) =>
          html`<text class="heading" x="${cell.x + (panel * (cell.width + 3)) / 3}" y="${top - 7}">${text}</text>`,
      ),
    );
  const captions = cells.map(
    (
      cell,
    ) => html`<text x="${cell.x}" y="${cell.y + cell.height + 15}"><title>${cell.prompt}</title>${clipped(cell.prompt, cell.width)}</text>
`,
  );
  return html`<h2>Samples</h2>
<figure><svg class="sheet" viewBox="0 0 ${width} ${height}" role="img" aria-label="Sample pictures"><image href="${sheet.pngDataUri}" width="${width}" height="${height}"/>
${headings}${captions}</svg>
<figcaption>Same prompt and same start noise in each triple. The third picture is the absolute difference of levels times ${DIFFERENCE_GAIN}, black where both agree.</figcaption></figure>`;
}

/** The beginning of a caption that fits `width` pixels; empty prompts are said to be so. */
function clipped(prompt: string, width: number): string {
  const characters = Array.from(prompt === '' ? '(no prompt)' : prompt);
  const room = Math.floor(width / CHARACTER_WIDTH);
  return characters.length <= room ? characters.join('') : `${characters.slice(0, room - 1).join('')}…`;
}
