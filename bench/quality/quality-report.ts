import { bytes, count, fixed } from '../../evaluation/report/format-number.js';
import type { PublishedRows } from './published-rows.js';
import { claimTable, qualityTable, tableRow } from './quality-table.js';
import type { RecipeResult } from './recipe-result.js';

/** What a table is made of: results under one protocol with one number of pictures, and what others reach there. */
export interface QualityReport {
  readonly results: readonly [RecipeResult, ...RecipeResult[]];
  readonly published: PublishedRows;
}

/** The results as markdown. */
export function qualityMarkdown({ results, published }: QualityReport): string {
  const [first] = results;
  const { floatPictures, samples } = first;
  const partial =
    samples === published.samples ? '' : ' A part of the protocol only: not comparable with the published rows.';
  const claims = results.flatMap((result) => result.claims);
  return [
    `# Quality under ${first.protocol}`,
    '',
    `${samples} pictures, ${first.triples} denoiser calls.${partial}`,
    '',
    `Float pictures against the protocol's: ${count(floatPictures.differing)} of ${count(floatPictures.values)} values differ, by at most ${floatPictures.largest} level. Their Fréchet distance to the reference: ${fixed(first.floatToReference, 3)}.`,
    '',
    "A recipe's minutes are those of its whole quantization: sampling, observing, rounding, training, converting. Plain rounding is the same bits and kind of ranges without the recipe's method. Peak MB is the largest engine and the program together.",
    '',
    qualityTable([first.noiseFloor, ...results.flatMap((result) => result.rows)]),
    '',
    ...(claims.length === 0 ? [] : [claimTable(claims), '']),
    ...results.flatMap((result) => [...described(result), '']),
    `## Others under the same protocol (n = ${published.samples})`,
    '',
    `Source: ${published.source}.`,
    '',
    qualityTable(published.rows.map((row) => tableRow(row))),
    '',
  ].join('\n');
}

function described({ recipe, date, machine, notes }: RecipeResult): string[] {
  return [`## ${recipe}`, '', `${date}. ${machine}.`, '', ...notes.map((note) => `- ${note}`)];
}

/** Largest resident sizes in words; null where the system does not tell. */
export function peakText(engine: number | null, bench: number | null): string {
  if (engine === null || bench === null) return 'peak memory: not told by this system';
  return `peak memory: engine ${bytes(engine)}, bench ${bytes(bench)}, together at most ${bytes(engine + bench)}`;
}
