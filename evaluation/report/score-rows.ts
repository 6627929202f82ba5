import { fixed, significant } from './format-number.js';
import type { ScoreColumn, ScoreTableData } from './report-data.js';

export interface ScoreRow {
  readonly label: string;
  /** Which direction is good. */
  readonly better: 'higher' | 'lower' | null;
  /** One text per column. */
  readonly cells: readonly string[];
  /** Belongs to the row above: its interval, its percentile. */
  readonly detail: boolean;
}

interface RowFormat {
  readonly label: (data: ScoreTableData) => string;
  readonly better: ScoreRow['better'];
  readonly detail?: true;
  readonly cell: (column: ScoreColumn) => string;
}

const ROWS: readonly RowFormat[] = [
  { label: () => 'Same-seed PSNR, dB', better: 'higher', cell: (column) => fixed(column.psnrDb, 2) },
  { label: () => '95 % interval of the mean', better: null, detail: true, cell: interval },
  { label: () => '10th percentile', better: null, detail: true, cell: (column) => fixed(column.psnrP10Db, 2) },
  { label: () => 'SSIM', better: 'higher', cell: (column) => fixed(column.ssim, 4) },
  { label: () => 'Latent SQNR, dB', better: 'higher', cell: (column) => fixed(column.latentSqnrDb, 2) },
  {
    label: (data) => `${frechet(data)} to float`,
    better: 'lower',
    cell: (column) => significant(column.frechetToFloat),
  },
  {
    label: (data) => `${frechet(data)} to reference`,
    better: 'lower',
    cell: (column) => significant(column.frechetToReference),
  },
  { label: () => 'Denoiser relative MSE', better: 'lower', cell: (column) => significant(column.denoiserRelativeMse) },
  { label: () => 'Pictures (n)', better: null, cell: (column) => String(column.samples) },
];

/** The rows of the score table; rows that nothing was measured for are left out. */
export function scoreRows(data: ScoreTableData): ScoreRow[] {
  return ROWS.map(({ label, better, detail, cell }) => ({
    label: label(data),
    better,
    detail: detail === true,
    cells: data.columns.map(cell),
  })).filter(({ cells }) => cells.some((cell) => cell !== '–'));
}

/** What the names and columns of the table mean, a sentence each. */
export function scoreNotes(data: ScoreTableData): string[] {
  const notes = [
    'Every column compares with the float pictures of the same prompts; quantized ones start from the same noise.',
  ];
  if (data.columns.some(({ role }) => role === 'floor')) {
    notes.push(
      'The noise floor is the float pipeline itself with other seeds: how far apart two equally good answers are.',
    );
  }
  if (data.frechetName !== undefined) {
    const count = data.referenceCount ? `, of ${data.referenceCount} reference pictures` : '';
    notes.push(
      `Fréchet distances are ${data.frechetName}${count}; they fall as n grows, so compare equal n only, and they are not FID.`,
    );
  }
  if (data.floatToReference !== null && data.floatToReference !== undefined) {
    notes.push(`The float pictures themselves are ${significant(data.floatToReference)} from the reference.`);
  }
  return notes;
}

/** The metric's name with its n, where all columns have the same. */
function frechet({ frechetName, columns }: ScoreTableData): string {
  const [first, ...others] = columns.map(({ samples }) => samples);
  const name = frechetName ?? 'Fréchet';
  return first !== undefined && others.every((n) => n === first) ? `${name}-${first}` : name;
}

function interval(column: ScoreColumn): string {
  const ends = column.psnrInterval;
  return ends ? `${fixed(ends.low, 2)} to ${fixed(ends.high, 2)}` : fixed(null, 2);
}
