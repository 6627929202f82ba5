import type { RunSummary, StageRow } from '../contracts/run-summary.js';

const MARKS: Record<StageRow['state'], string> = {
  pending: '',
  running: '▶',
  paused: '⏸',
  done: '✓',
  reused: '↺',
  failed: '✗',
};

/** Markdown of the run for the UI: stages first, then the scores as they come in. */
export function runDetails(summary: RunSummary, pausedSince: string | null = null): string {
  return [
    `### ${cell(summary.pipeline)} → ${cell(summary.recipe)} on ${summary.device}`,
    '',
    ...pauseNote(pausedSince),
    ...stageTable(summary.stages),
    ...(summary.gate ? ['', cell(summary.gate.text)] : []),
    ...scoreTable(summary),
  ].join('\n');
}

/** What a paused run says of itself. */
export function pauseNote(since: string | null): string[] {
  if (since === null) return [];
  return [`**Paused since ${since.slice(0, 19).replace('T', ' ')} UTC.** It goes on with \`nibbleflow resume\`.`, ''];
}

/** A row of the table for each stage. */
export function stageTable(stages: readonly StageRow[]): string[] {
  return ['| | stage | result | time |', '|---|---|---|---|', ...stages.map(stageLine)];
}

function stageLine(row: StageRow): string {
  const time = row.state === 'done' ? `${row.seconds.toFixed(1)} s` : row.state === 'reused' ? 'reused' : '';
  return `| ${MARKS[row.state]} | ${cell(row.title)} | ${cell(row.summary)} | ${time} |`;
}

function scoreTable(summary: RunSummary): string[] {
  if (summary.scores.length === 0) return [];
  const rows = summary.scores.map((score) =>
    [
      cell(score.label),
      score.psnrDb.toFixed(2),
      score.ssim?.toFixed(4) ?? '–',
      score.latentSqnrDb?.toFixed(2) ?? '–',
      score.denoiserRelativeMse?.toExponential(2) ?? '–',
      score.frechetToFloat?.toFixed(2) ?? '–',
      score.frechetToReference?.toFixed(2) ?? '–',
    ].join(' | '),
  );
  return [
    '',
    '### Scores against the float pipeline, same prompts and seeds',
    '',
    '| | PSNR dB | SSIM | latent SQNR dB | denoiser error | Fréchet to float | Fréchet to reference |',
    '|---|---|---|---|---|---|---|',
    ...rows.map((row) => `| ${row} |`),
  ];
}

/** Text that cannot end a table cell. */
export function cell(text: string): string {
  return text.replaceAll('|', '\\|').replaceAll('\n', ' ');
}
